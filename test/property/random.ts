import { nodeOf, type Node, type Schema } from '../../shared/schema.ts';

/** Seeded pseudo-random choices: the same seed makes the same choices, so that a failure can be run again. */
export interface Random {
  /** At least 0, less than 1. */
  next(): number;
  /** At least 0, less than `limit`. */
  below(limit: number): number;
  chance(probability: number): boolean;
  one<T>(options: readonly T[]): T;
  /** Up to `max` items. */
  many<T>(max: number, make: () => T): T[];
}

/** mulberry32. */
export function seeded(seed: number): Random {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    next, below,
    chance: (probability) => next() < probability,
    one: (options) => options[below(options.length)]!,
    many: (max, make) => Array.from({ length: below(max + 1) }, make),
  };
}

const words = ['', 'a', 'web', 'app.kubernetes.io/name', '-', '..', '/', 'A b', '10.0.0.1', 'fd00::1', '80', '500m', '1Gi', '1e3', 'é', '__proto__', 'constructor', '2026-01-02T03:04:05Z', 'aGk='];
const numbers = [0, 1, -1, 80, 65536, 0.5, 1e21, 2 ** 31, -(2 ** 31) - 1];

/** Any JSON value. */
export function randomJson(random: Random, depth = 3): unknown {
  const kind = random.below(depth > 0 ? 7 : 5);
  if (kind === 0) return null;
  if (kind === 1) return random.chance(0.5);
  if (kind === 2) return random.one(numbers);
  if (kind <= 4) return random.one(words);
  if (kind === 5) return random.many(3, () => randomJson(random, depth - 1));
  return Object.fromEntries(random.many(3, () => [random.one(words), randomJson(random, depth - 1)]));
}

export interface DocumentOptions {
  /** Probability of a field. */
  readonly fill: number;
  /** Whether required fields are always there. */
  readonly complete?: boolean;
  /** Probability of a value of any type where the schema wants a certain one. */
  readonly noise: number;
}

/** A document that mostly has the types of a schema, with values that mostly break its rules. */
export function randomDocument(random: Random, schema: Schema, options: DocumentOptions): unknown {
  return fromNode(random, nodeOf(schema), options, 12);
}

function fromNode(random: Random, node: Node, options: DocumentOptions, depth: number): unknown {
  if (random.chance(options.noise)) return randomJson(random, 2);
  const child = (item: Node): unknown => fromNode(random, item, options, depth - 1);
  switch (node.type) {
    case 'object': return Object.fromEntries([...node.fields]
      .filter(([, field]) => (options.complete && field.required) || (depth > 0 && random.chance(options.fill)))
      .map(([name, field]) => [name, child(field)]));
    case 'array': return random.many(depth > 0 ? 2 : 0, () => child(node.item!));
    case 'record': return Object.fromEntries(random.many(depth > 0 ? 2 : 0, () => [random.one(words), child(node.item!)]));
    case 'string': return randomText(random, node.facts.format);
    case 'picklist': return random.chance(0.9) ? random.one(node.options) : random.one(words);
    case 'number': return random.one([0, 1, -1, 80, 420, 70_000]);
    case 'boolean': return random.chance(0.5);
    case 'union': return random.one<unknown>([0, 80, 'http', '']);
    case 'unknown': return randomJson(random, 2);
  }
}

function randomText(random: Random, format: string | undefined): string {
  switch (format) {
    case 'quantity': return random.one(['0', '1', '100m', '1Gi', '1.5', '-1', '1e3', '12E', '3n']);
    case 'date-time': case 'micro-time': return random.one(['2026-01-02T03:04:05Z', '2026-01-02T03:04:05.123456Z']);
    case 'byte': return random.one(['', 'aGk=', '/w==']);
    default: return random.one(words);
  }
}
