/** What a client says of itself in the first, plain message of TLS. */
export interface ClientHello {
  /** Name of the server that it wants (SNI), as sent; `''` when it names none. */
  readonly serverName: string;
  /** Protocols that it offers (ALPN), in its order. */
  readonly protocols: readonly string[];
}

/** Longest message that is looked at. Those of today are 200 to 2,000 bytes. */
export const maxHelloBytes = 16 * 1024;

const handshakeRecord = 22;
const clientHello = 1;
const serverNameExtension = 0;
const protocolsExtension = 16;

/**
 * Reads the start of a connection (RFC 8446, 4.1.2 and 5.1). `more`: so far it may be a ClientHello, and its end has not
 * come yet. Undefined: it is none, or one that contradicts itself. Never throws, whatever the bytes, and looks at no more
 * than {@link maxHelloBytes} of them.
 */
export function readClientHello(bytes: Uint8Array): ClientHello | 'more' | undefined {
  const message = messageOf(bytes.subarray(0, maxHelloBytes));
  if (message === undefined) return undefined;
  if (message === 'more') return bytes.length < maxHelloBytes ? 'more' : undefined;
  try {
    return readBody(new Reader(message));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The handshake message, without its head, out of the records that carry it. */
function messageOf(bytes: Uint8Array): Uint8Array | 'more' | undefined {
  const parts: Uint8Array[] = [];
  let have = 0;
  for (let at = 0; ;) {
    const [type, major, , high, low] = bytes.subarray(at, at + 5);
    if (type !== undefined && type !== handshakeRecord || major !== undefined && major !== 3) return undefined;
    if (high === undefined || low === undefined) return 'more';
    const part = bytes.subarray(at + 5, at + 5 + (high << 8 | low));
    if (part.length === 0 && bytes.length >= at + 5 && (high << 8 | low) === 0) return undefined;
    parts.push(part);
    have += part.length;
    at += 5 + (high << 8 | low);
    const found = wholeOf(parts, have);
    if (found !== 'more' || at > bytes.length) return found;
  }
}

function wholeOf(parts: readonly Uint8Array[], have: number): Uint8Array | 'more' | undefined {
  const all = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  if (have > 0 && all[0] !== clientHello) return undefined;
  if (have < 4) return 'more';
  const length = all[1]! << 16 | all[2]! << 8 | all[3]!;
  if (length > maxHelloBytes) return undefined;
  return have < 4 + length ? 'more' : all.subarray(4, 4 + length);
}

function readBody(body: Reader): ClientHello {
  body.skip(2 + 32);
  body.skip(body.number(1));
  body.skip(body.number(2));
  body.skip(body.number(1));
  const hello = { serverName: '', protocols: [] as string[] };
  if (body.left === 0) return hello;
  for (const extensions = body.part(2); extensions.left > 0;) {
    const type = extensions.number(2);
    const content = extensions.part(2);
    if (type === serverNameExtension) hello.serverName = readServerName(content);
    else if (type === protocolsExtension) hello.protocols = readProtocols(content);
  }
  return hello;
}

function readServerName(content: Reader): string {
  for (const names = content.part(2); names.left > 0;) {
    const type = names.number(1);
    const name = names.part(2);
    if (type === 0) return name.text();
  }
  return '';
}

function readProtocols(content: Reader): string[] {
  const found: string[] = [];
  for (const protocols = content.part(2); protocols.left > 0;) found.push(protocols.part(1).text());
  return found;
}

/** Bytes, from first to last. @throws RangeError where there are fewer than asked for */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  skip(count: number): void {
    if (count > this.left) throw new RangeError(`${count} bytes are wanted, and ${this.left} left`);
    this.#at += count;
  }

  /** Of so many bytes, the highest first. */
  number(bytes: 1 | 2): number {
    const at = this.#at;
    this.skip(bytes);
    return bytes === 1 ? this.#bytes[at]! : this.#bytes[at]! << 8 | this.#bytes[at + 1]!;
  }

  /** What stands behind its length. */
  part(lengthBytes: 1 | 2): Reader {
    const length = this.number(lengthBytes);
    const at = this.#at;
    this.skip(length);
    return new Reader(this.#bytes.subarray(at, at + length));
  }

  text(): string {
    return Buffer.from(this.#bytes).toString('latin1');
  }
}
