// What an exported file says of itself. onnxruntime-web does not hand metadata on, so it is read off the file:
// field 14 of a ModelProto, pairs of key (field 1) and value (field 2), in Protocol Buffers' wire format.

const METADATA = 14;
const LENGTH_DELIMITED = 2;

/** bytes of an .onnx file -> {key: text}. */
export function readMetadata(bytes) {
  const facts = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== METADATA) continue;
    const pair = Object.fromEntries(fields(value));
    facts[text(pair[1])] = text(pair[2]);
  }
  return facts;
}

const text = (bytes) => new TextDecoder().decode(bytes);

/** The length-delimited fields of a message, in order. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    // Multiplied, not shifted: shifts are of 32 bits, sizes are not.
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag & 7;
    if (kind === LENGTH_DELIMITED) {
      const length = varint();
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
      at += length;
    } else if (kind === 0) varint();
    else at += kind === 1 ? 8 : 4;
  }
}
