// Packs the files of a folder into a TAR without reading them: the browser takes their bytes when a part is sent.

const BLOCK = 512;
const encoder = new TextEncoder();

/** A Blob with all files; the same files always give the same bytes, so that an upload can be gone on with. */
export function tarOf(files) {
  const named = [...files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
  named.sort((one, other) => (one.name < other.name ? -1 : 1));
  const pieces = named.flatMap(({ file, name }) => [...headers(name, file.size), file, padding(file.size)]);
  return new Blob([...pieces, new Uint8Array(2 * BLOCK)]);
}

/** The header of a file, with one before it where the name is longer than a plain header holds. */
function headers(name, size) {
  const bytes = encoder.encode(name);
  if (bytes.length <= 100) return [header(bytes, size, "0")];
  const record = paxRecord("path", name);
  return [header(encoder.encode("long-name"), record.length, "x"), record, padding(record.length), header(bytes.slice(0, 100), size, "0")];
}

/** "<length> path=<name>\n", in which the length counts itself. */
function paxRecord(key, value) {
  const rest = encoder.encode(` ${key}=${value}\n`).length;
  let length = rest + String(rest).length;
  if (rest + String(length).length > length) length += 1;
  return encoder.encode(`${length} ${key}=${value}\n`);
}

function header(name, size, type) {
  const block = new Uint8Array(BLOCK);
  const write = (text, at) => block.set(typeof text === "string" ? encoder.encode(text) : text, at);
  write(name, 0);
  write("0000644\0", 100);
  write("0000000\0", 108);
  write("0000000\0", 116);
  write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  write("00000000000\0", 136);
  write("        ", 148);
  write(type, 156);
  write("ustar\0" + "00", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function padding(size) {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}
