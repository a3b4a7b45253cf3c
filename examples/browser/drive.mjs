// Drives the page as a person would, for the test: node drive.mjs CHROMIUM URL ROWS SCREENSHOT
// ROWS: JSON list of {feature: value as typed or chosen}. Prints what the page found for each, as JSON.

import { chromium } from "playwright-core";

const [executablePath, url, rows, screenshot] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 800 } });
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("console", (message) => message.type() === "error" && troubles.push(message.text()));
  await page.goto(url);
  await page.waitForFunction("document.body.dataset.answered || document.body.dataset.failed");
  const found = [];
  for (const row of JSON.parse(rows)) {
    for (const [name, value] of Object.entries(row)) {
      const field = page.locator(`[name="${name}"]`);
      if ((await field.evaluate((element) => element.tagName)) === "SELECT") await field.selectOption(value);
      else await field.fill(value);
    }
    await page.waitForFunction("document.body.dataset.answered === document.body.dataset.asked");
    found.push(JSON.parse(await page.evaluate("document.body.dataset.found")));
  }
  const shown = await page.evaluate("document.body.innerText");
  if (screenshot) await page.screenshot({ path: screenshot });
  console.log(JSON.stringify({ found, shown, troubles, failed: await page.evaluate("document.body.dataset.failed") }));
} finally {
  await browser.close();
}
