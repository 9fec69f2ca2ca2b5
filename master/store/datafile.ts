import { closeSync, ftruncateSync, openSync, readSync, fstatSync } from 'node:fs';

// The head of an LMDB data file (format version 2, little endian): a page header, then MDB_meta of mdb.c.
const MAGIC = 0xbeefc0de;
const FORMAT = 2;
const AT = { magic: 24, version: 28, pageSize: 48, lastPage: 144 } as const;
const META_BYTES = 160;

/**
 * Looks at a data file before it is mapped into memory, where a page that is missing would end the process.
 * A file that ends before its last page is filled up with zeros, which the database reads as damage.
 * @returns whether every page was there; LMDB may leave out free ones at the end, so `false` calls for a full check
 * @throws Error saying what the file is if it is no LMDB data file
 */
export function checkDataFile(file: string): boolean {
  const fd = openSync(file, 'r+');
  try {
    const { size } = fstatSync(fd);
    if (size === 0) return true;
    const needed = neededBytes(fd);
    if (size < needed) ftruncateSync(fd, needed);
    return size >= needed;
  } finally {
    closeSync(fd);
  }
}

/** The file's length by the later of its two meta pages. */
function neededBytes(fd: number): number {
  const first = meta(fd, 0);
  const second = meta(fd, first.pageSize);
  return (Math.max(first.lastPage, second.lastPage) + 1) * first.pageSize;
}

function meta(fd: number, at: number): { pageSize: number; lastPage: number } {
  const bytes = Buffer.alloc(META_BYTES);
  if (readSync(fd, bytes, 0, META_BYTES, at) < META_BYTES || bytes.readUInt32LE(AT.magic) !== MAGIC) throw new Error('it is not an LMDB data file');
  const version = bytes.readUInt32LE(AT.version) & 0xffff;
  if (version !== FORMAT) throw new Error(`its LMDB format is ${version}, not ${FORMAT}`);
  const pageSize = bytes.readUInt32LE(AT.pageSize);
  const lastPage = Number(bytes.readBigUInt64LE(AT.lastPage));
  if (pageSize < 512 || pageSize > 65536 || lastPage * pageSize > 2 ** 46) throw new Error('its first pages are damaged');
  return { pageSize, lastPage };
}
