import * as v from 'valibot';

/** Any valibot schema. */
// deno-lint-ignore no-explicit-any
export type Schema = v.GenericSchema<unknown, unknown>;
export type ObjectSchema = Schema & { readonly entries: Record<string, Schema> };

/** What Kubernetes says of a schema node and valibot has no word for. */
export interface SchemaFacts {
  /** Definition name without its prefix, such as `core.v1.PodSpec`; its last segment is the Go struct's name. */
  readonly definition?: string;
  readonly format?: 'int32' | 'int64' | 'double' | 'byte' | 'date-time' | 'micro-time' | 'quantity' | 'int-or-string';
  /** How server-side apply merges a list; `map` needs `listMapKeys`. Absent means atomic. */
  readonly listType?: 'atomic' | 'set' | 'map';
  readonly listMapKeys?: readonly string[];
  /** Strategic merge patch: the key of a merged list of objects; `''` merges a list of scalars. */
  readonly patchMergeKey?: string;
  readonly patchStrategy?: 'merge' | 'replace' | 'retainKeys' | 'merge,retainKeys';
  /** An object or map that server-side apply owns as one value. */
  readonly atomic?: boolean;
  /** Keep whatever the document holds below here. */
  readonly preserveUnknown?: boolean;
}

/** Attaches facts and a description without changing the inferred type. */
export function annotate<S extends Schema>(schema: S, facts: SchemaFacts, description?: string): S {
  const items = [v.metadata(facts as Record<string, unknown>), ...(description ? [v.description(description)] : [])];
  return (v.pipe as (...parts: unknown[]) => unknown)(schema, ...items) as S;
}

/** A JSON object with named fields; fields that it does not name are pruned. `definition` as in {@link SchemaFacts}. */
export function obj<const E extends v.ObjectEntries>(definition: string, entries: E, description?: string): v.ObjectSchema<E, undefined> {
  return annotate(v.object(entries), { definition }, description);
}

/** As {@link obj}, for an object that server-side apply owns as one value. */
export function atomicObj<const E extends v.ObjectEntries>(definition: string, entries: E, description?: string): v.ObjectSchema<E, undefined> {
  return annotate(v.object(entries), { definition, atomic: true }, description);
}

/** Adds a rule; a value for which `holds` is false is reported as `Invalid value: …: message`. */
export function checked<S extends Schema>(schema: S, holds: (value: v.InferOutput<S>) => boolean, message: string): S {
  return (v.pipe as (...parts: unknown[]) => unknown)(schema, v.check(holds, message)) as S;
}

/** An optional field. `null` in a document counts as absent, as in Go. */
export function opt<S extends Schema>(schema: S, description?: string): v.ExactOptionalSchema<S, undefined> {
  return v.exactOptional(description ? annotate(schema, {}, description) : schema);
}

/** A required field; its absence is `Required value`. */
export function req<S extends Schema>(schema: S, description: string): S {
  return annotate(schema, {}, description);
}

/** A field that has a default, filled in when the object is created or updated. */
export function dflt<S extends Schema, const D extends v.InferInput<S>>(schema: S, value: D, description?: string): v.OptionalSchema<S, D> {
  return v.optional(description ? annotate(schema, {}, description) : schema, value) as v.OptionalSchema<S, D>;
}

export const str = (): v.StringSchema<undefined> => v.string();
export const bool = (): v.BooleanSchema<undefined> => v.boolean();
export const int32 = (): v.NumberSchema<undefined> => annotate(v.number(), { format: 'int32' });
export const int64 = (): v.NumberSchema<undefined> => annotate(v.number(), { format: 'int64' });
/** An int32 of at least 0. */
export const count32 = (): v.NumberSchema<undefined> => checked(int32(), (n) => n >= 0, 'must be greater than or equal to 0');
/** An int64 of at least 0. */
export const count64 = (): v.NumberSchema<undefined> => checked(int64(), (n) => n >= 0, 'must be greater than or equal to 0');
/** RFC 3339 in seconds, such as `2026-01-02T03:04:05Z`. */
export const time = (): v.StringSchema<undefined> => annotate(v.string(), { format: 'date-time' });
/** RFC 3339 in microseconds, such as `2026-01-02T03:04:05.000000Z`. */
export const microTime = (): v.StringSchema<undefined> => annotate(v.string(), { format: 'micro-time' });
/** Base64 (standard alphabet, padded). */
export const bytes = (): v.StringSchema<undefined> => annotate(v.string(), { format: 'byte' });
/** A resource quantity as a canonical string, such as `500m` or `1Gi`; numbers are accepted. */
export const quantity = (): v.StringSchema<undefined> => annotate(v.string(), { format: 'quantity' });
export const intOrString = (): v.UnionSchema<[v.NumberSchema<undefined>, v.StringSchema<undefined>], undefined> =>
  annotate(v.union([v.number(), v.string()]), { format: 'int-or-string' });
/** Anything JSON, kept as it is. */
export const anything = (): v.UnknownSchema => annotate(v.unknown(), { preserveUnknown: true });

/** One of a fixed set of strings; anything else is `Unsupported value`. */
export const oneOf = <const O extends readonly string[]>(...options: O): v.PicklistSchema<O, undefined> => v.picklist(options);

/** A list that patches and apply replace as a whole. */
export const list = <S extends Schema>(item: S): v.ArraySchema<S, undefined> => annotate(v.array(item), { listType: 'atomic' });
/** A list of scalars merged as a set. */
export const set = <S extends Schema>(item: S): v.ArraySchema<S, undefined> =>
  annotate(v.array(item), { listType: 'set', patchStrategy: 'merge', patchMergeKey: '' });
/** A list of objects merged by `patchKey` in strategic merge and by `mapKeys` (default: the same) in apply. */
export const listMap = <S extends Schema>(item: S, patchKey: string, mapKeys: readonly string[] = [patchKey]): v.ArraySchema<S, undefined> =>
  annotate(v.array(item), { listType: 'map', listMapKeys: mapKeys, patchStrategy: 'merge', patchMergeKey: patchKey });
/** As {@link listMap}, for lists whose elements are unions: a strategic merge patch may say with `$retainKeys` what to keep. */
export const retainKeysListMap = <S extends Schema>(item: S, patchKey: string): v.ArraySchema<S, undefined> =>
  annotate(v.array(item), { listType: 'map', listMapKeys: [patchKey], patchStrategy: 'merge,retainKeys', patchMergeKey: patchKey });
/** A map from string to `value`. */
export const map = <S extends v.GenericSchema>(value: S): v.RecordSchema<v.StringSchema<undefined>, S, undefined> => v.record(v.string(), value);
/** A map from string to string that server-side apply owns as one value. */
export const atomicMap = (): v.RecordSchema<v.StringSchema<undefined>, v.StringSchema<undefined>, undefined> => annotate(map(str()), { atomic: true });

/** A schema node with optionality and pipes peeled off: what walkers (decoder, patch, apply, OpenAPI) work on. */
export interface Node {
  readonly type: 'object' | 'array' | 'record' | 'string' | 'number' | 'boolean' | 'union' | 'picklist' | 'unknown';
  readonly facts: SchemaFacts;
  /** What a field says of itself, else what its type says. */
  readonly description: string;
  /** What the type says of itself, wherever it is used. */
  readonly about: string;
  readonly required: boolean;
  /** The default, or undefined. */
  readonly fallback: unknown;
  /** valibot validation actions in order. */
  readonly checks: readonly v.GenericValidation[];
  /** Fields of an object. */
  readonly fields: ReadonlyMap<string, Node>;
  /** Element of an array, value of a record. */
  readonly item: Node | undefined;
  /** Values of a picklist. */
  readonly options: readonly string[];
}

interface Raw {
  readonly type: string;
  readonly pipe?: readonly { kind: string; type: string; metadata?: SchemaFacts; description?: string }[];
  readonly wrapped?: Raw;
  readonly default?: unknown;
  readonly entries?: Record<string, Raw>;
  readonly item?: Raw;
  readonly value?: Raw;
  readonly options?: readonly string[];
  readonly getter?: (input: unknown) => Raw;
}

const nodes = new WeakMap<object, Node>();

/**
 * The node of a schema, made once per schema. Recursive schemas (`v.lazy`) are followed when read.
 * A pure function of its argument: the map behind it is only a memo.
 */
export function nodeOf(schema: Schema): Node {
  return nodeOfRaw(schema as unknown as Raw);
}

function nodeOfRaw(raw: Raw): Node {
  const known = nodes.get(raw);
  if (known) return known;
  const node = buildNode(raw);
  nodes.set(raw, node);
  return node;
}

function buildNode(raw: Raw): Node {
  let required = true;
  let fallback: unknown;
  let facts: SchemaFacts = {};
  let description = '';
  let about = '';
  const checks: v.GenericValidation[] = [];
  let at = raw;
  for (;;) {
    for (const part of at.pipe ?? []) {
      if (part.type === 'metadata') facts = { ...part.metadata, ...facts };
      else if (part.type === 'description') {
        description ||= part.description ?? '';
        about = part.description ?? about;
      } else if (part.kind === 'validation') checks.push(part as unknown as v.GenericValidation);
    }
    // A pipe's first part is the schema that it wraps; its own facts lie deeper.
    const inner: Raw | undefined = at.pipe ? (at.pipe[0] as unknown as Raw) : undefined;
    if (inner && inner !== at && inner.pipe) { at = inner; continue; }
    if (at.type === 'exact_optional' || at.type === 'optional') {
      required = false;
      if (at.default !== undefined) fallback = at.default;
      at = at.wrapped!;
      continue;
    }
    if (at.type === 'lazy') { at = at.getter!(undefined); continue; }
    break;
  }
  const entries = at.entries;
  let fields: Map<string, Node> | undefined;
  return {
    type: at.type as Node['type'], facts, description, about, required, fallback, checks,
    get fields() {
      fields ??= new Map(Object.entries(entries ?? {}).map(([name, child]) => [name, nodeOfRaw(child)]));
      return fields;
    },
    get item() {
      const child = at.item ?? (at.type === 'record' ? at.value : undefined);
      return child ? nodeOfRaw(child) : undefined;
    },
    options: at.options ?? [],
  };
}
