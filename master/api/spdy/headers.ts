import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';
import { SpdyError } from './frames.ts';

/**
 * The dictionary that SPDY/3 starts both directions' compression with (SPDY draft 3, 2.6.10.1): words with their
 * lengths before them, then text.
 */
const dictionaryWords = 'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow '
  + 'authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 '
  + 'content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since '
  + 'last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer '
  + 'transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie '
  + 'keep-alive origin';
const dictionaryText = '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505'
  + '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found'
  + '500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 '
  + 'Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,'
  + 'text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

export const dictionary = Buffer.concat([
  ...dictionaryWords.split(' ').map((word) => text(word.replace('_', ' '))), Buffer.from(dictionaryText),
]);

/** Largest block of headers, unpacked. Ours have three short ones. */
const maxBlock = 64 * 1024;

/** Header names (lower case) and values; several values of one name are joined by a zero byte. */
export type Headers = ReadonlyMap<string, string>;

/**
 * Header blocks of one connection. Each direction is one compressed stream, so blocks must pass through in the order
 * in which they are on the wire, one at a time.
 */
export class HeaderCodec {
  #inflate: Inflate | undefined;
  #deflate: Deflate | undefined;

  async pack(headers: Headers): Promise<Buffer> {
    this.#deflate ??= createDeflate({ dictionary, flush: constants.Z_SYNC_FLUSH, windowBits: 11, memLevel: 1 });
    const plain = [u32(headers.size), ...[...headers].flatMap(([name, value]) => [text(name), text(value)])];
    return through(this.#deflate, Buffer.concat(plain));
  }

  /** @throws SpdyError for what is no block */
  async unpack(block: Uint8Array): Promise<Headers> {
    this.#inflate ??= createInflate({ dictionary });
    return read(await through(this.#inflate, block));
  }

  close(): void {
    this.#inflate?.destroy();
    this.#deflate?.destroy();
  }
}

/** What comes out of a compressor for some input. */
function through(codec: Inflate | Deflate, input: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    const take = (): void => {
      for (let part = codec.read() as Buffer | null; part; part = codec.read() as Buffer | null) {
        parts.push(part);
        size += part.length;
      }
      if (size > maxBlock) finish(new SpdyError(`header block of more than ${maxBlock} bytes`));
    };
    const finish = (error?: Error | null): void => {
      codec.off('readable', take);
      codec.off('error', finish);
      if (error) reject(error instanceof SpdyError ? error : new SpdyError(`header block: ${error.message}`));
      else resolve(Buffer.concat(parts));
    };
    codec.on('readable', take);
    // Kept for good: an error after its promise has settled must not be unhandled.
    codec.on('error', finish);
    codec.write(input, (error) => {
      if (!error) take();
      finish(error);
    });
  });
}

function read(block: Buffer): Headers {
  let at = 0;
  const number = (): number => {
    if (at + 4 > block.length) throw new SpdyError('header block is cut off');
    at += 4;
    return block.readUInt32BE(at - 4);
  };
  const word = (): string => {
    const length = number();
    if (at + length > block.length) throw new SpdyError('header block is cut off');
    at += length;
    return block.toString('utf8', at - length, at);
  };
  const headers = new Map<string, string>();
  for (let left = number(); left > 0; left--) headers.set(word().toLowerCase(), word());
  return headers;
}

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u32(bytes.length), bytes]);
}
