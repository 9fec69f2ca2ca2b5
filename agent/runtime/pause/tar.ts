/** One regular file of an archive. `mode` holds permission bits, by default 0o644. */
export interface TarEntry {
  name: string
  data: Uint8Array
  mode?: number
}

const blockSize = 512

/**
 * An uncompressed ustar archive of regular files owned by root, dated 1970: the same entries give the same bytes.
 * @throws RangeError when a name does not fit a ustar header (100 bytes)
 */
export function tar(entries: readonly TarEntry[]): Uint8Array {
  const parts = entries.flatMap((entry) => [header(entry), padded(entry.data)])
  return Buffer.concat([...parts, Buffer.alloc(2 * blockSize)])
}

function header({ name, data, mode = 0o644 }: TarEntry): Uint8Array {
  const nameBytes = Buffer.from(name)
  if (nameBytes.length > 100) throw new RangeError(`tar: name of ${nameBytes.length} bytes, at most 100 fit: ${name}`)
  const block = Buffer.alloc(blockSize)
  const octal = (value: number, at: number, digits: number) =>
    block.write(value.toString(8).padStart(digits, '0'), at, 'ascii')
  nameBytes.copy(block)
  octal(mode, 100, 7)
  octal(0, 108, 7) // uid
  octal(0, 116, 7) // gid
  octal(data.length, 124, 11)
  octal(0, 136, 11) // mtime
  block.write('        0', 148, 'ascii') // the checksum counts itself as eight spaces; type 0 is a regular file
  block.write('ustar\x0000', 257, 'ascii')
  octal(block.reduce((sum, byte) => sum + byte, 0), 148, 6)
  block.write('\0 ', 154, 'ascii')
  return block
}

function padded(data: Uint8Array): Uint8Array {
  const block = Buffer.alloc(Math.ceil(data.length / blockSize) * blockSize)
  block.set(data)
  return block
}
