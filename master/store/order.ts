/** Longest key in bytes of UTF-8: what every store can hold beside its own overhead. */
export const KEY_LIMIT_BYTES = 1900;

/**
 * The order of keys in every store: by their UTF-8 bytes, which is by code point. JavaScript's `<` differs from it
 * only where a surrogate meets a code unit above U+DFFF.
 * @returns negative, 0 or positive
 */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** Moves surrogates behind every other code unit, where their UTF-8 sorts. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Byte bounds of a scan; `end` is exclusive and absent for the end of the table. */
export interface Bounds {
  readonly start: Buffer | undefined;
  readonly end: Buffer | undefined;
}

/** The bounds of all keys that start with `prefix` and, if given, come after the key `after`. */
export function boundsOf(prefix: string, after: string | undefined): Bounds {
  const start = Buffer.from(prefix).subarray(0, KEY_LIMIT_BYTES + 1);
  const end = successorOfPrefix(start);
  if (after === undefined) return { start: start.length > 0 ? start : undefined, end };
  // A zero byte behind a key makes its successor. What is cut off a longer one cannot matter: no key is that long.
  const behind = Buffer.concat([Buffer.from(after).subarray(0, KEY_LIMIT_BYTES), Buffer.of(0)]);
  return { start: Buffer.compare(behind, start) > 0 ? behind : start, end };
}

/** The first byte string behind all those that start with `prefix`; UTF-8 has no byte 0xff, so the last byte can grow. */
function successorOfPrefix(prefix: Buffer): Buffer | undefined {
  if (prefix.length === 0) return undefined;
  const end = Buffer.from(prefix);
  end[end.length - 1] = end[end.length - 1]! + 1;
  return end;
}
