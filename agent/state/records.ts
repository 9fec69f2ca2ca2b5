import { Packr } from 'msgpackr';
import type { Item } from '../../shared/protocol.ts';
import { crc32 } from './crc32.ts';

/**
 * One entry of a journal.
 * - `start`: first of every file; what follows up to `ready` is the state at the time the file was made.
 * - `base`: some of that state's items and notes.
 * - `ready`: the base is whole; the state held `epoch` and `revision`.
 * - `batch`: an assignment change; `notes`: changed notes, undefined ones are `removed`.
 */
export type JournalRecord =
  | { readonly t: 'start'; readonly version: 1 }
  | { readonly t: 'base'; readonly items: readonly Item[]; readonly notes: readonly (readonly [string, unknown])[] }
  | { readonly t: 'ready'; readonly epoch: string; readonly revision: number }
  | { readonly t: 'batch'; readonly epoch: string; readonly revision: number; readonly complete: boolean; readonly items: readonly Item[]; readonly removed: readonly string[] }
  | { readonly t: 'notes'; readonly set: readonly (readonly [string, unknown])[]; readonly removed: readonly string[] };

/** Length (u32 BE) and CRC-32 (u32 BE, of length and payload) before each payload. */
const headerBytes = 8;

const packr = new Packr({ useRecords: false, variableMapSize: true, int64AsType: 'number' });

/** Bytes of a record in the file. */
export function encodeRecord(record: JournalRecord): Buffer {
  const payload = packr.pack(record) as Buffer;
  const bytes = Buffer.allocUnsafe(headerBytes + payload.length);
  bytes.writeUInt32BE(payload.length, 0);
  payload.copy(bytes, headerBytes);
  bytes.writeUInt32BE(checksum(bytes), 4);
  return bytes;
}

const checksum = (record: Uint8Array): number => crc32(record.subarray(headerBytes), crc32(record.subarray(0, 4)));

/** What a file holds up to the first thing wrong with it. */
export interface ReadResult {
  readonly records: readonly JournalRecord[];
  /** Length of the good part in bytes. */
  readonly goodBytes: number;
  /** `tail`: the bad part may be a write that never finished; `middle`: something that was whole once is not any more. */
  readonly damage: 'none' | 'tail' | 'middle';
}

/** Reads records until the end or the first bad one. Never throws, whatever the bytes. */
export function readRecords(file: Uint8Array): ReadResult {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const records: JournalRecord[] = [];
  let at = 0;
  while (at < bytes.length) {
    const record = readRecord(bytes, at);
    if (!record) return { records, goodBytes: at, damage: damageAt(bytes, at) };
    records.push(record.record);
    at += record.size;
  }
  return { records, goodBytes: at, damage: 'none' };
}

function readRecord(bytes: Buffer, at: number): { record: JournalRecord; size: number } | undefined {
  if (at + headerBytes > bytes.length) return undefined;
  const size = headerBytes + bytes.readUInt32BE(at);
  if (size === headerBytes || at + size > bytes.length) return undefined;
  const whole = bytes.subarray(at, at + size);
  if (checksum(whole) !== whole.readUInt32BE(4)) return undefined;
  try {
    return { record: packr.unpack(whole.subarray(headerBytes)) as JournalRecord, size };
  } catch {
    return undefined;
  }
}

/** A bad record is a torn tail when it reaches the end of the file, or when nothing but zeros follows. */
function damageAt(bytes: Buffer, at: number): 'tail' | 'middle' {
  if (at + headerBytes > bytes.length) return 'tail';
  const length = bytes.readUInt32BE(at);
  if (length > 0 && at + headerBytes + length >= bytes.length) return 'tail';
  return bytes.subarray(at).every((byte) => byte === 0) ? 'tail' : 'middle';
}
