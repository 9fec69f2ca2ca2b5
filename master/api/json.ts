/**
 * Two things that `JSON.parse` does not say: where a text breaks, in the words of Go's encoding/json, and which keys
 * an object repeats. Only documents that are broken, or hold more keys than their parsed form, are read this way.
 */

/** The error of Go's decoder for a text that is not JSON; undefined for one that is. */
export function jsonProblem(text: string): string | undefined {
  try {
    new Reader(text, () => {}).document();
    return undefined;
  } catch (error) {
    if (error instanceof JsonProblem) return error.message;
    throw error;
  }
}

/** Deepest nesting that is taken: far more than any schema has, far less than the stack holds. */
const maxDepth = 256;

/** What {@link scan} finds in a text. */
export interface Scan {
  /** A document has one colon per key, outside of strings. */
  readonly colons: number;
  readonly tooDeep: boolean;
}

/** One pass over a text that may or may not be JSON, before anything recursive touches it. */
export function scan(text: string): Scan {
  let colons = 0;
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) inString = !inString;
    else if (code === 0x5c) at++;
    else if (inString) continue;
    else if (code === 0x3a) colons++;
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > deepest) deepest = depth;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return { colons, tooDeep: deepest > maxDepth };
}

/** Paths of keys that occur more than once in one object, such as `spec.replicas`; the text must be JSON. */
export function duplicateKeys(text: string, parsed: unknown, { colons }: Scan = scan(text)): string[] {
  if (colons === countKeys(parsed)) return [];
  const found: string[] = [];
  new Reader(text, (path) => found.push(path)).document();
  return found;
}

function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) {
    for (const item of value) count += countKeys(item);
    return count;
  }
  for (const key in value) count += 1 + countKeys((value as Record<string, unknown>)[key]);
  return count;
}

class JsonProblem extends Error {}

const space = /[ \t\r\n]*/y;
const plainText = /[^"\\\u0000-\u001f]*/y;

class Reader {
  readonly #text: string;
  readonly #onDuplicate: (path: string) => void;
  #at = 0;

  constructor(text: string, onDuplicate: (path: string) => void) {
    this.#text = text;
    this.#onDuplicate = onDuplicate;
  }

  document(): void {
    this.#value('');
    this.#skip();
    if (this.#at < this.#text.length) this.#fail('after top-level value');
  }

  #skip(): void {
    space.lastIndex = this.#at;
    space.test(this.#text);
    this.#at = space.lastIndex;
  }

  #peek(): string {
    this.#skip();
    return this.#text[this.#at] ?? '';
  }

  #fail(where: string): never {
    const found = this.#text.codePointAt(this.#at);
    if (found === undefined) throw new JsonProblem('unexpected end of JSON input');
    throw new JsonProblem(`invalid character ${quoteChar(String.fromCodePoint(found))} ${where}`);
  }

  #value(path: string): void {
    const char = this.#peek();
    if (char === '{') this.#object(path);
    else if (char === '[') this.#array(path);
    else if (char === '"') this.#string();
    else if (char === '-' || (char >= '0' && char <= '9')) this.#number();
    else if (char === 't') this.#literal('true');
    else if (char === 'f') this.#literal('false');
    else if (char === 'n') this.#literal('null');
    else this.#fail('looking for beginning of value');
  }

  #object(path: string): void {
    const seen = new Set<string>();
    this.#at++;
    if (this.#peek() === '}') { this.#at++; return; }
    for (;;) {
      if (this.#peek() !== '"') this.#fail('looking for beginning of object key string');
      const key = this.#string();
      const child = path ? `${path}.${key}` : key;
      if (seen.has(key)) this.#onDuplicate(child);
      seen.add(key);
      if (this.#peek() !== ':') this.#fail('after object key');
      this.#at++;
      this.#value(child);
      const next = this.#peek();
      if (next !== ',' && next !== '}') this.#fail('after object key:value pair');
      this.#at++;
      if (next === '}') return;
    }
  }

  #array(path: string): void {
    this.#at++;
    if (this.#peek() === ']') { this.#at++; return; }
    for (let index = 0; ; index++) {
      this.#value(`${path}[${index}]`);
      const next = this.#peek();
      if (next !== ',' && next !== ']') this.#fail('after array element');
      this.#at++;
      if (next === ']') return;
    }
  }

  #string(): string {
    const start = this.#at++;
    for (;;) {
      plainText.lastIndex = this.#at;
      plainText.test(this.#text);
      this.#at = plainText.lastIndex;
      const char = this.#text[this.#at];
      if (char === '"') break;
      if (char !== '\\') this.#fail('in string literal');
      this.#escape();
    }
    this.#at++;
    return JSON.parse(this.#text.slice(start, this.#at)) as string;
  }

  #escape(): void {
    this.#at++;
    const char = this.#text[this.#at];
    if (char === undefined || !'"\\/bfnrtu'.includes(char)) this.#fail('in string escape code');
    this.#at++;
    if (char !== 'u') return;
    for (const end = this.#at + 4; this.#at < end; this.#at++) {
      if (!/[0-9a-fA-F]/.test(this.#text[this.#at] ?? '')) this.#fail('in \\u hexadecimal character escape');
    }
  }

  #literal(word: string): void {
    this.#at++;
    for (let index = 1; index < word.length; index++, this.#at++) {
      if (this.#text[this.#at] !== word[index]) this.#fail(`in literal ${word} (expecting '${word[index]}')`);
    }
  }

  #number(): void {
    if (this.#text[this.#at] === '-') this.#at++;
    if (this.#text[this.#at] === '0') this.#at++;
    else this.#digits('in numeric literal');
    if (this.#text[this.#at] === '.') {
      this.#at++;
      this.#digits('after decimal point in numeric literal');
    }
    if (!/[eE]/.test(this.#text[this.#at] ?? '')) return;
    this.#at++;
    if (/[+-]/.test(this.#text[this.#at] ?? '')) this.#at++;
    this.#digits('in exponent of numeric literal');
  }

  #digits(where: string): void {
    if (!/[0-9]/.test(this.#text[this.#at] ?? '')) this.#fail(where);
    while (/[0-9]/.test(this.#text[this.#at] ?? '')) this.#at++;
  }
}

/** A character as Go's `quoteChar` prints it. */
function quoteChar(char: string): string {
  if (char === "'") return "'\\''";
  if (char === '"') return "'\"'";
  return `'${JSON.stringify(char).slice(1, -1)}'`;
}
