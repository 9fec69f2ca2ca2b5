import { nameWire, readName, FormatError } from './dns-name.ts';

/** Record types by number, those that anything here knows by name. */
export const recordType = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, MX: 15, TXT: 16, AAAA: 28, SRV: 33, DNAME: 39, OPT: 41, IXFR: 251, AXFR: 252, ANY: 255 } as const;
export const rcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;
export const classIn = 1;

export interface DnsQuestion {
  /** As in {@link readName}: without its last dot, `''` for the root. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  /** As on the wire, but with the names in it spelled out, so that it means the same in any message. */
  readonly data: Uint8Array;
}

/** Of the OPT record (RFC 6891). */
export interface Edns {
  /** Largest answer in bytes that the sender takes over UDP. */
  readonly udpSize: number;
  readonly version: number;
  readonly dnssecOk: boolean;
  readonly options: Uint8Array;
}

/** One DNS message (RFC 1035), with its OPT record taken out of the additional section. */
export interface DnsMessage {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** 0 to 15, or to 4095 with `edns`. */
  readonly rcode: number;
  readonly questions: readonly DnsQuestion[];
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  readonly edns: Edns | undefined;
}

export const maxMessageBytes = 65_535;
const headerBytes = 12;

/** A message without questions, records or flags. */
export const emptyMessage: DnsMessage = {
  id: 0, response: false, opcode: 0, authoritative: false, truncated: false, recursionDesired: false, recursionAvailable: false,
  authenticData: false, checkingDisabled: false, rcode: 0, questions: [], answers: [], authorities: [], additionals: [], edns: undefined,
};

/** @throws FormatError for anything that is no DNS message; never anything else */
export function decodeDns(bytes: Uint8Array): DnsMessage {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < headerBytes) throw new FormatError('shorter than a header');
  const flags = buffer.readUInt16BE(2);
  const reader = new Reader(buffer);
  const questions = reader.times(buffer.readUInt16BE(4), () => reader.question());
  const answers = reader.times(buffer.readUInt16BE(6), () => reader.record());
  const authorities = reader.times(buffer.readUInt16BE(8), () => reader.record());
  const { edns, extendedRcode, additionals } = withoutOpt(reader.times(buffer.readUInt16BE(10), () => reader.record()));
  const bit = (number: number): boolean => (flags & (1 << number)) !== 0;
  return {
    id: buffer.readUInt16BE(0), response: bit(15), opcode: (flags >> 11) & 15, authoritative: bit(10), truncated: bit(9),
    recursionDesired: bit(8), recursionAvailable: bit(7), authenticData: bit(5), checkingDisabled: bit(4), rcode: (flags & 15) | (extendedRcode << 4),
    questions, answers, authorities, additionals, edns,
  };
}

function withoutOpt(records: readonly DnsRecord[]): { edns: Edns | undefined; extendedRcode: number; additionals: DnsRecord[] } {
  const [opt, second] = records.filter(({ type }) => type === recordType.OPT);
  if (!opt) return { edns: undefined, extendedRcode: 0, additionals: [...records] };
  if (second || opt.name !== '') throw new FormatError('more than one OPT record, or one with a name');
  const edns = { udpSize: opt.class, version: (opt.ttl >>> 16) & 255, dnssecOk: (opt.ttl & 0x8000) !== 0, options: opt.data };
  return { edns, extendedRcode: opt.ttl >>> 24, additionals: records.filter((record) => record !== opt) };
}

class Reader {
  readonly #buffer: Buffer;
  #at = headerBytes;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  /** Never makes room for what a header merely announces. */
  times<T>(count: number, read: () => T): T[] {
    const found: T[] = [];
    for (let i = 0; i < count; i++) found.push(read());
    return found;
  }

  question(): DnsQuestion {
    return { name: this.#name(), type: this.#number(2), class: this.#number(2) };
  }

  record(): DnsRecord {
    const name = this.#name();
    const type = this.#number(2);
    const group = this.#number(2);
    const ttl = this.#number(4);
    const length = this.#number(2);
    const end = this.#at + length;
    if (end > this.#buffer.length) throw new FormatError('record data ends past the message');
    const data = this.#data(type, end);
    this.#at = end;
    return { name, type, class: group, ttl, data };
  }

  #data(type: number, end: number): Uint8Array {
    const form = nameForm(type);
    if (!form) return Buffer.from(this.#buffer.subarray(this.#at, end));
    const { before, names, after } = form;
    const head = this.#take(before, end);
    const spelled: Buffer[] = [];
    for (let i = 0; i < names; i++) spelled.push(nameWire(this.#name()));
    const tail = this.#take(after, end);
    if (this.#at !== end) throw new FormatError('record data of the wrong length');
    return Buffer.concat([head, ...spelled, tail]);
  }

  #take(count: number, end: number): Buffer {
    if (this.#at + count > end) throw new FormatError('record data of the wrong length');
    this.#at += count;
    return this.#buffer.subarray(this.#at - count, this.#at);
  }

  #name(): string {
    const { name, end } = readName(this.#buffer, this.#at);
    this.#at = end;
    return name;
  }

  #number(bytes: number): number {
    if (this.#at + bytes > this.#buffer.length) throw new FormatError('ends within a field');
    this.#at += bytes;
    return this.#buffer.readUIntBE(this.#at - bytes, bytes);
  }
}

/** Where old record types have names, which a sender may shorten by pointing into the rest of the message. */
function nameForm(type: number): { readonly before: number; readonly names: number; readonly after: number } | undefined {
  switch (type) {
    case recordType.NS: case recordType.CNAME: case recordType.PTR: case recordType.DNAME: return { before: 0, names: 1, after: 0 };
    case recordType.MX: return { before: 2, names: 1, after: 0 };
    case recordType.SRV: return { before: 6, names: 1, after: 0 };
    case recordType.SOA: return { before: 0, names: 2, after: 20 };
    default: return undefined;
  }
}

/**
 * Bytes of a message, `maxBytes` at most. What does not fit is left out: additional records silently, others with the
 * mark `truncated` (TC), which makes the client ask again over TCP.
 * @throws FormatError for names that no message can hold
 */
export function encodeDns(message: DnsMessage, maxBytes: number = maxMessageBytes): Buffer {
  const opt = message.edns && optBytes(message.edns, message.rcode >> 4);
  const writer = new Writer(maxBytes - (opt?.length ?? 0));
  writer.header(message);
  for (const { name, type, class: group } of message.questions) writer.question(name, type, group);
  const answers = writer.records(message.answers);
  const authorities = answers === message.answers.length ? writer.records(message.authorities) : 0;
  const whole = answers === message.answers.length && authorities === message.authorities.length;
  const additionals = whole ? writer.records(message.additionals) : 0;
  return writer.end({ answers, authorities, additionals, truncated: message.truncated || !whole, opt });
}

function optBytes({ udpSize, version, dnssecOk, options }: Edns, extendedRcode: number): Buffer {
  const head = Buffer.alloc(11);
  head.writeUInt16BE(recordType.OPT, 1);
  head.writeUInt16BE(udpSize, 3);
  head.writeUInt8(extendedRcode, 5);
  head.writeUInt8(version, 6);
  head.writeUInt16BE(dnssecOk ? 0x8000 : 0, 7);
  head.writeUInt16BE(options.length, 9);
  return Buffer.concat([head, options]);
}

/** Pointers reach no further. */
const maxPointer = 0x3fff;

class Writer {
  readonly #limit: number;
  #buffer: Buffer;
  #at = headerBytes;
  /** Names, and what follows each of their dots, with where they are. */
  readonly #names = new Map<string, number>();

  constructor(limit: number) {
    this.#limit = limit;
    this.#buffer = Buffer.allocUnsafe(Math.max(headerBytes, Math.min(limit, 1232)));
  }

  header(message: DnsMessage): void {
    const bit = (on: boolean, number: number): number => (on ? 1 << number : 0);
    this.#buffer.writeUInt16BE(message.id, 0);
    this.#buffer.writeUInt16BE(bit(message.response, 15) | (message.opcode & 15) << 11 | bit(message.authoritative, 10) | bit(message.recursionDesired, 8)
      | bit(message.recursionAvailable, 7) | bit(message.authenticData, 5) | bit(message.checkingDisabled, 4) | (message.rcode & 15), 2);
    this.#buffer.writeUInt16BE(message.questions.length, 4);
  }

  question(name: string, type: number, group: number): void {
    this.#name(name);
    this.#room(4);
    this.#at = this.#buffer.writeUInt16BE(group, this.#buffer.writeUInt16BE(type, this.#at));
  }

  /** How many there was room for. */
  records(records: readonly DnsRecord[]): number {
    let count = 0;
    for (const record of records) {
      const start = this.#at;
      if (!this.#record(record)) {
        this.#at = start;
        for (const [name, at] of this.#names) if (at >= start) this.#names.delete(name);
        return count;
      }
      count++;
    }
    return count;
  }

  end({ answers, authorities, additionals, truncated, opt }: { answers: number; authorities: number; additionals: number; truncated: boolean; opt: Buffer | undefined }): Buffer {
    if (truncated) this.#buffer[2]! |= 2;
    this.#buffer.writeUInt16BE(answers, 6);
    this.#buffer.writeUInt16BE(authorities, 8);
    this.#buffer.writeUInt16BE(additionals + (opt ? 1 : 0), 10);
    const bytes = this.#buffer.subarray(0, this.#at);
    return opt ? Buffer.concat([bytes, opt]) : bytes;
  }

  #record({ name, type, class: group, ttl, data }: DnsRecord): boolean {
    if (!this.#name(name) || !this.#room(10 + data.length)) return false;
    this.#at = this.#buffer.writeUInt16BE(type, this.#at);
    this.#at = this.#buffer.writeUInt16BE(group, this.#at);
    this.#at = this.#buffer.writeUInt32BE(ttl, this.#at);
    this.#at = this.#buffer.writeUInt16BE(data.length, this.#at);
    this.#buffer.set(data, this.#at);
    this.#at += data.length;
    return true;
  }

  /** Points to a name, or the rest of one, that is there already. */
  #name(name: string): boolean {
    const wire = nameWire(name);
    let from = 0;
    let rest = name;
    const fresh: [string, number][] = [];
    while (wire[from] !== 0) {
      const known = this.#names.get(rest);
      if (known !== undefined) return this.#write(wire.subarray(0, from), fresh, known);
      if (this.#at + from <= maxPointer) fresh.push([rest, this.#at + from]);
      from += 1 + wire[from]!;
      rest = afterLabel(rest);
    }
    return this.#write(wire, fresh, undefined);
  }

  #write(bytes: Buffer, fresh: readonly (readonly [string, number])[], pointer: number | undefined): boolean {
    if (!this.#room(bytes.length + (pointer === undefined ? 0 : 2))) return false;
    bytes.copy(this.#buffer, this.#at);
    this.#at += bytes.length;
    if (pointer !== undefined) this.#at = this.#buffer.writeUInt16BE(0xc000 | pointer, this.#at);
    for (const [name, at] of fresh) this.#names.set(name, at);
    return true;
  }

  #room(count: number): boolean {
    const wanted = this.#at + count;
    if (wanted <= this.#buffer.length) return true;
    if (wanted > this.#limit) return false;
    const larger = Buffer.allocUnsafe(Math.min(this.#limit, Math.max(wanted, this.#buffer.length * 2)));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
    return true;
  }
}

/** A name without its first label; dots that belong to a label have a backslash before them. */
function afterLabel(name: string): string {
  for (let at = 0; at < name.length; at++) {
    if (name[at] === '\\') at++;
    else if (name[at] === '.') return name.slice(at + 1);
  }
  return '';
}
