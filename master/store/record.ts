import type { Change } from './store.ts';

/**
 * A change together with its place in the history of its key. `chain` is the revision of the key's change before this
 * one, a deletion included; 0 if there was none (or if it was compacted). `previous` is `chain` unless that was a deletion.
 */
export interface LoggedChange extends Change {
  readonly chain: number;
}

/** Everything of a record but its value. */
export type RecordHeader = Pick<LoggedChange, 'key' | 'type' | 'chain' | 'previous'>;

// A record in the log: flags (1 byte), chain (6, big endian), length of the key (2), the key in UTF-8, the value.
const DELETES = 1;
const CREATES = 2;
const HEADER_BYTES = 9;

/** Lays a change out as it stands in the log. {@link valueOf} the result shares its memory. */
export function encodeRecord(type: Change['type'], key: string, chain: number, creates: boolean, value: Uint8Array): Buffer {
  const keyBytes = Buffer.byteLength(key);
  const record = Buffer.allocUnsafe(HEADER_BYTES + keyBytes + value.length);
  record[0] = (type === 'delete' ? DELETES : 0) | (creates ? CREATES : 0);
  record.writeUIntBE(chain, 1, 6);
  record.writeUInt16BE(keyBytes, 7);
  record.write(key, HEADER_BYTES);
  record.set(value, HEADER_BYTES + keyBytes);
  return record;
}

export function isDelete(record: Buffer): boolean {
  return (record[0]! & DELETES) !== 0;
}

/** Revision of the key's change before this one, 0 if none; see {@link LoggedChange}. */
export function chainOf(record: Buffer): number {
  return record.readUIntBE(1, 6);
}

export function keyOf(record: Buffer): string {
  return record.toString('utf8', HEADER_BYTES, HEADER_BYTES + record.readUInt16BE(7));
}

/** Offset of the value in its record. */
export function valueStart(record: Buffer): number {
  return HEADER_BYTES + record.readUInt16BE(7);
}

export function headerOf(record: Buffer): RecordHeader {
  const chain = chainOf(record);
  const creates = (record[0]! & CREATES) !== 0;
  return { key: keyOf(record), type: isDelete(record) ? 'delete' : 'put', chain, previous: creates ? 0 : chain };
}
