import type { InferOutput } from 'valibot';
import { ObjectMeta, type KubeObject } from './meta.ts';
import { obj, opt, str, type ObjectSchema, type Schema } from './schema.ts';
import type { FieldError } from './status.ts';

export type Verb = 'create' | 'get' | 'list' | 'watch' | 'update' | 'patch' | 'delete' | 'deletecollection';

/** A column of `kubectl get`. */
export interface Column<T> {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date' | 'boolean';
  readonly description: string;
  /** 0 is always shown, 1 only with `-o wide`. */
  readonly priority?: 0 | 1;
  /** The cell; `now` in ms since 1970, for ages. */
  cell(object: T, now: number): string | number | boolean | null;
}

/** Where a kind keeps what the `scale` subresource reads and writes. */
export interface Scale<T> {
  replicas(object: T): number;
  setReplicas(object: T, replicas: number): void;
  statusReplicas(object: T): number;
  /** Label selector in string form. */
  selector(object: T): string;
}

/** Reads one field of an object as text; a method type, so that a `Kind<Pod>` is a `Kind`. */
export type FieldReader<T> = { read(object: T): string }['read'];

export interface KindSpec<T extends KubeObject> {
  /** `''` for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  /** Defaults to the kind in lower case. */
  readonly singular?: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly namespaced: boolean;
  readonly schema: ObjectSchema;
  /** Verbs served; all by default. */
  readonly verbs?: readonly Verb[];
  /** Counts changes of the desired state in metadata.generation. */
  readonly generation?: boolean;
  /** Has a `status` subresource: writes of the object keep the stored status, writes of the status keep all else. */
  readonly status?: boolean;
  /** A creation may bring its first status along, as nodes do; else it begins at the schema's default. */
  readonly statusOnCreate?: boolean;
  readonly scale?: Scale<T>;
  /** Subresources beside status and scale, as discovery lists them. */
  readonly subresources?: readonly { readonly name: string; readonly kind: string; readonly group?: string; readonly version?: string; readonly verbs: readonly string[] }[];
  readonly columns: readonly Column<T>[];
  /** Fields beside metadata.name and metadata.namespace that field selectors may name. */
  readonly selectableFields?: Readonly<Record<string, FieldReader<T>>>;
  /** Rule for `metadata.name`; DNS-1123 subdomain by default. Returns what is wrong with a name. */
  validateName?(name: string, prefix: boolean): string[];
  /** Defaults that depend on other fields; runs after the schema's, on create and update. Mutates. */
  normalize?(object: T): void;
  /** Sets what the server decides on create (a first status, …). Mutates. */
  prepareCreate?(object: T): void;
  /** Carries over what a writer may not change. Mutates `object`. */
  prepareUpdate?(object: T, old: T): void;
  /** Rules over several fields; single-field rules are the schema's checks. */
  validate?(object: T): FieldError[];
  /** Rules for a creation alone. Runs after {@link validate}. */
  validateCreate?(object: T): FieldError[];
  /** Rules about change (immutable fields), which may depend on the subresource that was written. Runs after {@link validate}. */
  validateUpdate?(object: T, old: T, subresource?: string): FieldError[];
  /** Rules for a write of the status subresource. */
  validateStatus?(object: T, old: T): FieldError[];
  /** What is allowed and yet most likely a mistake: `Warning` headers for who creates it, or changes it from `old`. */
  warnings?(object: T, old: T | undefined): string[];
  /** Grace in seconds of a deletion that asks for `requested` (undefined: the kind's default); 0 or absent hook removes at once. */
  gracePeriodSeconds?(object: T, requested: number | undefined): number;
  /** Propagation when a deletion names none: `background` (default), or `orphan` as replication controllers have it. */
  readonly defaultPropagation?: 'Background' | 'Orphan';
}

/** A served resource kind. Passed as a value wherever code needs to say which resource it means. */
export interface Kind<T extends KubeObject = KubeObject> extends KindSpec<T> {
  readonly apiVersion: string;
  readonly singular: string;
  readonly verbs: readonly Verb[];
  /** Store prefix: `core/pods/`. Followed by `namespace/name`, or `name`. */
  readonly prefix: string;
}

const allVerbs: readonly Verb[] = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

/** Defines a kind; the one call from which routes, discovery, OpenAPI, tables, store keys and validation derive. */
export function defineKind<T extends KubeObject>(spec: KindSpec<T>): Kind<T> {
  return {
    ...spec,
    apiVersion: spec.group ? `${spec.group}/${spec.version}` : spec.version,
    singular: spec.singular ?? spec.kind.toLowerCase(),
    verbs: spec.verbs ?? allVerbs,
    prefix: `${spec.group || 'core'}/${spec.plural}/`,
  };
}

/** Top-level schema of a kind: apiVersion, kind, metadata and the given fields. */
export function topLevel<const E extends Record<string, Schema>>(definition: string, entries: E, description: string) {
  return obj(definition, {
    apiVersion: opt(str(), 'Versioned schema of this representation.'),
    kind: opt(str(), 'Kind of this object.'),
    metadata: opt(ObjectMeta, 'Standard object metadata.'),
    ...entries,
  }, description);
}

/** The type of a {@link topLevel} schema, with the parts that a stored object always has. */
export type ObjectOf<S extends Schema> = Omit<InferOutput<S>, 'apiVersion' | 'kind' | 'metadata'> & KubeObject;

