import { toMicroTime, toTime } from '../../shared/time.ts';
import { scan } from './json.ts';
import { wireTable } from './protobuf-fields.ts';

/** First bytes of every Kubernetes protobuf document. */
const magic = Buffer.from('k8s\0');

export const protobufType = 'application/vnd.kubernetes.protobuf';

interface Field {
  /** '' for a message whose fields are its parent's. */
  readonly name: string;
  readonly shape: 'one' | 'list' | 'map';
  /** A zero counts: the sender had to set it. */
  readonly pointer: boolean;
  readonly type: string;
}

type Message = ReadonlyMap<number, Field>;

/** Parsed lines of the table: a memo of a constant. */
const messages = new Map<string, Message>();

function messageNamed(name: string): Message | undefined {
  if (messages.size === 0) for (const line of wireTable.trim().split('\n')) addMessage(line);
  return messages.get(name);
}

function addMessage(line: string): void {
  const [name = '', ...fields] = line.split(' ');
  messages.set(name, new Map(fields.filter(Boolean).map((text): [number, Field] => {
    const [, number, field = '', pointer, shape, type = ''] = /^(\d+)(?:=([^:]*))?:(\*?)(\[\]|\{\})?(.*)$/.exec(text)!;
    return [Number(number), { name: field, pointer: pointer === '*', shape: shape === '[]' ? 'list' : shape === '{}' ? 'map' : 'one', type }];
  })));
}

/** A document in Kubernetes' protobuf envelope, as the JSON that it stands for. @throws Error with what is wrong */
export function decodeProtobuf(bytes: Buffer): Record<string, unknown> {
  if (!bytes.subarray(0, magic.length).equals(magic)) throw new Error('provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]');
  const { apiVersion, kind, raw } = readEnvelope(bytes.subarray(magic.length));
  const message = messageNamed(`${packageOf(apiVersion)}.${kind}`) ?? messageNamed(`meta.v1.${kind}`);
  if (!message) throw new Error(`no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)}`);
  return { apiVersion, kind, ...readMessage(message, raw, 0) };
}

/** `apps.v1` of `apps/v1`, `rbac.v1` of `rbac.authorization.k8s.io/v1`, `core.v1` of `v1`. */
function packageOf(apiVersion: string): string {
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['core', apiVersion];
  return `${group!.split('.')[0]}.${version}`;
}

const none: Buffer = Buffer.alloc(0);

/** The `runtime.Unknown` around every document. */
function readEnvelope(bytes: Buffer): { apiVersion: string; kind: string; raw: Buffer } {
  const found: { apiVersion: string; kind: string; raw: Buffer } = { apiVersion: '', kind: '', raw: none };
  for (const { number, data } of wireFields(bytes)) {
    if (number === 2 && data) found.raw = data;
    if (number !== 1 || !data) continue;
    for (const inner of wireFields(data)) {
      if (inner.number === 1) found.apiVersion = inner.data?.toString() ?? '';
      if (inner.number === 2) found.kind = inner.data?.toString() ?? '';
    }
  }
  return found;
}

/** One field on the wire: a number (varint or fixed), or bytes. */
interface WireField { readonly number: number; readonly value: bigint; readonly data: Buffer | undefined }

function* wireFields(bytes: Buffer): Generator<WireField> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('unexpected EOF');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new Error('proto: integer overflow');
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('unexpected EOF');
    return bytes.subarray(at, at += length);
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case 0: yield { number, value: BigInt.asIntN(64, varint()), data: undefined }; break;
      case 1: yield { number, value: take(8).readBigInt64LE(), data: undefined }; break;
      case 2: yield { number, value: 0n, data: take(Number(varint())) }; break;
      case 5: yield { number, value: BigInt(take(4).readInt32LE()), data: undefined }; break;
      default: throw new Error(`proto: illegal wireType ${tag & 7n}`);
    }
  }
}

/** Deepest nesting that is read; Kubernetes' own documents stay far below. */
const maxDepth = 100;

function readMessage(message: Message, bytes: Buffer, depth: number): Record<string, unknown> {
  if (depth > maxDepth) throw new Error('proto: message nested too deeply');
  const target: Record<string, unknown> = {};
  for (const wire of wireFields(bytes)) {
    const field = message.get(wire.number);
    if (field) readField(field, wire, target, depth);
  }
  return target;
}

function readField(field: Field, wire: WireField, target: Record<string, unknown>, depth: number): void {
  const { name, shape, type } = field;
  if (shape === 'map') return readEntry(field, wire, target, depth);
  const value = readValue(type, wire, depth);
  if (shape === 'list') ((target[name] ??= []) as unknown[]).push(value);
  else if (name === '') Object.assign(target, value);
  // Senders write the zeros of plain fields; as in JSON, those mean nothing.
  else if (value !== undefined && (field.pointer || (value !== '' && value !== 0 && value !== false))) target[name] = value;
}

function readEntry({ name, type }: Field, { data }: WireField, target: Record<string, unknown>, depth: number): void {
  let key = '';
  let value: unknown = type === 'string' || type === 'bytes' ? '' : undefined;
  for (const part of wireFields(data ?? none)) {
    if (part.number === 1) key = part.data?.toString() ?? '';
    if (part.number === 2) value = readValue(type, part, depth);
  }
  const map = (target[name] ??= {}) as Record<string, unknown>;
  Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
}

function readValue(type: string, { value, data = none }: WireField, depth: number): unknown {
  switch (type) {
    case 'string': return data.toString();
    case 'bytes': return data.toString('base64');
    case 'bool': return value !== 0n;
    case 'int32': case 'int64': return Number(value);
    case 'double': { const bits = Buffer.alloc(8); bits.writeBigInt64LE(value); return bits.readDoubleLE(); }
    case 'time': return timeText(data, toTime);
    case 'microTime': return timeText(data, toMicroTime);
    case 'quantity': return textOf(data) || '0';
    case 'raw': return data.length > 0 ? parseRaw(textOf(data)) : undefined;
    case 'duration': return `${numbersOf(data).get(1) ?? 0n}ns`;
    case 'intOrString': return intOrString(data);
    default: {
      const message = messageNamed(type);
      if (!message) throw new Error(`unknown message ${type}`);
      return readMessage(message, data, depth + 1);
    }
  }
}

function parseRaw(text: string): unknown {
  if (scan(text).tooDeep) throw new Error('exceeded max depth');
  return JSON.parse(text || 'null') as unknown;
}

/** The first field of a message that wraps one text. */
function textOf(data: Buffer): string {
  for (const { number, data: text } of wireFields(data)) if (number === 1 && text) return text.toString();
  return '';
}

const numbersOf = (data: Buffer): Map<number, bigint> => new Map([...wireFields(data)].map(({ number, value }) => [number, value]));

/** Seconds and nanoseconds; nothing for the zero time, which is how an absent one is sent. */
function timeText(data: Buffer, format: (ms: number) => string): string | undefined {
  const parts = numbersOf(data);
  const seconds = parts.get(1);
  if (seconds === undefined) return undefined;
  const ms = Number(seconds) * 1000 + Number(parts.get(2) ?? 0n) / 1e6;
  if (Math.abs(ms) > 8.64e15) throw new Error('time out of range');
  return format(ms);
}

function intOrString(data: Buffer): number | string {
  let text = '';
  const numbers = new Map<number, bigint>();
  for (const { number, value, data: bytes } of wireFields(data)) {
    if (number === 3) text = bytes?.toString() ?? '';
    else numbers.set(number, value);
  }
  return numbers.get(1) === 1n ? text : Number(numbers.get(2) ?? 0n);
}
