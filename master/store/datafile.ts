import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';

// An LMDB data file, format 2, little endian, as mdb.c lays it out: pages of one size, the first two of them MDB_meta.
const MAGIC = 0xbeefc0de;
const FORMAT = 2;
const PAGE_HEADER = 24;
const PAGE = { number: 0, flags: 18, lower: 20 } as const;
const META = { magic: 24, version: 28, pageSize: 48, freeRoot: 88, mainRoot: 136, lastPage: 144, transaction: 152, end: 160 } as const;
const BRANCH = 1;
const LEAF = 2;
const NODE_HEADER = 8;
const NODE = { low: 0, high: 2, flags: 4, keySize: 6 } as const;
/** The node's data is not in the leaf but in pages of its own. */
const BIG_DATA = 1;
/** The node's data is the MDB_db of a named table. */
const TABLE = 2;
const TABLE_ROOT = 40;
const NO_PAGE = 2n ** 64n - 1n;

interface DataFile {
  readonly fd: number;
  readonly pageSize: number;
  /** Whole pages that are there. */
  readonly pages: number;
}

interface MetaPage {
  readonly pageSize: number;
  readonly lastPage: bigint;
  readonly transaction: bigint;
  readonly roots: readonly bigint[];
}

/**
 * Looks at a data file before it is mapped into memory, where a page that is missing would end the process with SIGBUS.
 * A file may lack pages at its end that are free; one that lacks others was cut off.
 * @throws Error saying what is wrong with it
 */
export function checkDataFile(path: string): void {
  if (!existsSync(path)) return;
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    if (size > 0) checkLength(fd, size);
  } finally {
    closeSync(fd);
  }
}

function checkLength(fd: number, size: number): void {
  const first = readMeta(fd, 0);
  const second = readMeta(fd, first.pageSize);
  const { pageSize, lastPage, roots } = first.transaction > second.transaction ? first : second;
  const file = { fd, pageSize, pages: Math.floor(size / pageSize) };
  if (lastPage >= file.pages) for (const root of roots) checkTree(file, root);
}

function readMeta(fd: number, at: number): MetaPage {
  const bytes = Buffer.alloc(META.end);
  const read = readSync(fd, bytes, 0, META.end, at);
  if (read < META.end || bytes.readUInt32LE(META.magic) !== MAGIC) throw new Error('it is not an LMDB data file');
  const version = bytes.readUInt32LE(META.version) & 0xffff;
  if (version !== FORMAT) throw new Error(`its LMDB format is ${version}, not ${FORMAT}`);
  const pageSize = bytes.readUInt32LE(META.pageSize);
  if (pageSize < 512 || pageSize > 65_536) throw new Error(`its page size is ${pageSize}`);
  const [lastPage, transaction, ...roots] = [META.lastPage, META.transaction, META.freeRoot, META.mainRoot].map((offset) => bytes.readBigUInt64LE(offset));
  return { pageSize, lastPage: lastPage!, transaction: transaction!, roots };
}

/** Follows every reference below a root page. */
function checkTree(file: DataFile, root: bigint): void {
  const waiting = root === NO_PAGE ? [] : [root];
  for (let number = waiting.pop(); number !== undefined; number = waiting.pop()) waiting.push(...references(file, number));
}

/** The tree pages that a tree page refers to. */
function references(file: DataFile, number: bigint): bigint[] {
  const page = readPage(file, number);
  const branch = (page.readUInt16LE(PAGE.flags) & BRANCH) !== 0;
  if (!branch && (page.readUInt16LE(PAGE.flags) & LEAF) === 0) throw new Error(`its page ${number} is damaged`);
  const pages: bigint[] = [];
  for (let i = 0; i < page.readUInt16LE(PAGE.lower) >> 1; i++) {
    const node = page.subarray(PAGE_HEADER + page.readUInt16LE(PAGE_HEADER + 2 * i));
    const child = branch ? childOf(node) : tableOf(file, node);
    if (child !== NO_PAGE) pages.push(child);
  }
  return pages;
}

function childOf(node: Buffer): bigint {
  return BigInt(node.readUInt32LE(NODE.low)) | (BigInt(node.readUInt16LE(NODE.flags)) << 32n);
}

/** The root of a named table if the leaf's node is one. Pages of a big value are only looked for. */
function tableOf(file: DataFile, node: Buffer): bigint {
  const flags = node.readUInt16LE(NODE.flags);
  const data = NODE_HEADER + node.readUInt16LE(NODE.keySize);
  if (flags & BIG_DATA) {
    const end = node.readBigUInt64LE(data) + node.readBigUInt64LE(data + 16);
    if (end > file.pages) throw new Error('its end is missing');
  }
  return flags & TABLE ? node.readBigUInt64LE(data + TABLE_ROOT) : NO_PAGE;
}

function readPage({ fd, pageSize, pages }: DataFile, number: bigint): Buffer {
  if (number >= pages) throw new Error('its end is missing');
  const page = Buffer.alloc(pageSize);
  readSync(fd, page, 0, pageSize, Number(number) * pageSize);
  if (page.readBigUInt64LE(PAGE.number) !== number) throw new Error(`its page ${number} is damaged`);
  return page;
}
