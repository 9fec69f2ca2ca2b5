/** Keys whose newest revision is remembered. */
const maxCurrent = 4096;

/**
 * Parsed objects by revision, newest use last, bounded by the size of their documents.
 * A revision's document never changes, so an entry is never stale.
 */
export class ParsedCache {
  readonly #entries = new Map<number, { readonly object: unknown; readonly size: number }>();
  readonly #maxBytes: number;
  /** Newest revisions of keys that were asked for, oldest first: an answer without a look into the store. */
  readonly #current = new Map<string, number>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The parsed document of a revision; the same instance for every caller while it stays cached. */
  parse<T>(revision: number, bytes: Uint8Array): T {
    const known = this.known<T>(revision);
    if (known) return known;
    const object = parseDocument<T>(bytes);
    this.put(revision, object, bytes.length);
    return object;
  }

  /** The parsed document of a revision if it is cached: whoever asks first need not fetch its bytes. */
  known<T>(revision: number): T | undefined {
    const known = this.#entries.get(revision);
    if (!known) return undefined;
    this.#entries.delete(revision);
    this.#entries.set(revision, known);
    return known.object as T;
  }

  /** The newest object of a key, if it is known and still parsed. */
  current<T>(key: string): T | undefined {
    const revision = this.#current.get(key);
    return revision === undefined ? undefined : this.#entries.get(revision)?.object as T | undefined;
  }

  setCurrent(key: string, revision: number): void {
    this.#current.set(key, revision);
    if (this.#current.size > maxCurrent) for (const oldest of this.#current.keys()) return void this.#current.delete(oldest);
  }

  /** To be called for every change, before anybody acts on it. */
  forgetCurrent(key: string): void {
    this.#current.delete(key);
  }

  /** A revision that a failed commit gave back may come again with another object: the latest one counts. */
  put(revision: number, object: unknown, size: number): void {
    this.#bytes -= this.#entries.get(revision)?.size ?? 0;
    this.#entries.delete(revision);
    this.#entries.set(revision, { object, size });
    this.#bytes += size;
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#entries.delete(oldest);
      this.#bytes -= entry.size;
    }
  }
}

/** Parses a stored JSON document. */
export function parseDocument<T>(bytes: Uint8Array): T {
  const text = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return JSON.parse(text.toString('utf8')) as T;
}
