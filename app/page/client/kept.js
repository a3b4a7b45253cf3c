// What is kept between visits, or until the tab is closed; where the browser keeps nothing, until the page is left.

/** get(key) and keep(key, value) on one of the browser's storages, named as `window` has it. */
export function keeper(name) {
  const instead = new Map();
  const storage = () => globalThis[name];
  return {
    get: (key) => {
      try {
        return storage().getItem(key);
      } catch {
        return instead.get(key) ?? null;
      }
    },
    keep: (key, value) => {
      try {
        storage().setItem(key, value);
      } catch {
        instead.set(key, value);
      }
    },
  };
}
