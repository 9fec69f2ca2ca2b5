/** Not a DNS message, or a name that none can hold. */
export class FormatError extends Error {}

const maxNameBytes = 255;
const maxLabelBytes = 63;
/** Pointers followed for one name: more than it can have labels make nothing but work. */
const maxPointers = 127;
const plain = /^[\w-]+$/;

/**
 * Reads a name at an offset. Names here are strings without the last dot, `''` for the root; in them, bytes that are
 * not printable ASCII are `\DDD`, and dots and backslashes of a label have a backslash before them, as in zone files.
 * @throws FormatError
 */
export function readName(buffer: Buffer, start: number): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = start;
  let end: number | undefined;
  let bytes = 1;
  // Pointers may lead backwards only, so that they cannot go round.
  let floor = start;
  let pointers = 0;
  for (;;) {
    const length = buffer[at];
    if (length === undefined) throw new FormatError('name ends past the message');
    if (length === 0) return { name: labels.join('.'), end: end ?? at + 1 };
    if ((length & 0xc0) === 0xc0) {
      const low = buffer[at + 1];
      if (low === undefined) throw new FormatError('name ends past the message');
      const target = (length & 0x3f) << 8 | low;
      if (target >= floor) throw new FormatError('name points forward');
      if (++pointers > maxPointers) throw new FormatError('name of too many pointers');
      end ??= at + 2;
      at = floor = target;
      continue;
    }
    bytes += 1 + length;
    if (length > maxLabelBytes || bytes > maxNameBytes) throw new FormatError('name or label too long');
    if (at + 1 + length > buffer.length) throw new FormatError('name ends past the message');
    labels.push(escaped(buffer.toString('latin1', at + 1, at + 1 + length)));
    at += 1 + length;
  }
}

function escaped(label: string): string {
  if (plain.test(label)) return label;
  return label.replace(/[^!-~]|[.\\]/g, (char) => (char === '.' || char === '\\' ? `\\${char}` : `\\${String(char.charCodeAt(0)).padStart(3, '0')}`));
}

/**
 * The bytes of a name, spelled out.
 * @throws FormatError when it or one of its labels is empty or too long
 */
export function nameWire(name: string): Buffer {
  if (name === '') return Buffer.alloc(1);
  const wire = Buffer.allocUnsafe(Math.min(name.length, maxNameBytes) + 2);
  let at = 0;
  for (const label of labelsOf(name)) {
    if (label.length === 0 || label.length > maxLabelBytes || at + label.length + 2 > maxNameBytes) throw new FormatError(`no DNS name: ${JSON.stringify(name)}`);
    wire[at] = label.length;
    wire.write(label, at + 1, 'latin1');
    at += 1 + label.length;
  }
  wire[at] = 0;
  return wire.subarray(0, at + 1);
}

function labelsOf(name: string): string[] {
  if (!name.includes('\\')) return name.split('.');
  const labels: string[] = [];
  let label = '';
  for (const [part] of name.matchAll(/\\\d{3}|\\.|./gs)) {
    if (part === '.') { labels.push(label); label = ''; }
    else if (/^\\\d/.test(part)) label += String.fromCharCode(Number(part.slice(1)) & 255);
    else label += part.startsWith('\\') ? part.slice(1) : part;
  }
  return [...labels, label];
}
