import type { Clock } from '../../shared/clock.ts';
import { clone } from '../../shared/clone.ts';
import { decode } from '../../shared/decode.ts';
import type { Kind } from '../../shared/kind.ts';
import { equal } from '../../shared/equal.ts';
import { nameOf, type KubeObject, type ObjectMeta } from '../../shared/meta.ts';
import { nodeOf } from '../../shared/schema.ts';
import { alreadyExists, badRequest, conflict, invalid, isConflict, notFound, unavailable, type FieldError, type StatusError } from '../../shared/status.ts';
import { ConflictError, StoreError, type Change, type Entry, type Op, type Store } from '../store/store.ts';
import { planDeletion, specFinalizers } from './deletion.ts';
import { trackFields } from './managed-fields.ts';
import { checkPreconditions, desiredStateChanged, placeInNamespace, prepareMetadataForCreate, prepareMetadataForUpdate, validateMetadata, validateMetadataUpdate } from './metadata.ts';
import { ParsedCache } from './cache.ts';
import { Listing, type Reader } from './listing.ts';
import type { Admission, Allocator, Attempt, DeleteOptions, Deletion, KindChange, Preconditions, Stored, WriteOptions } from './types.ts';

/** How often a write that others keep winning against is tried, as the apiserver's `GuaranteedUpdate` users do. */
const maxAttempts = 32;

/** How often values are picked for an object, should others be faster each time. */
const maxClaimAttempts = 8;

/** A value that an allocator picked belongs to somebody else by now. */
class ClaimLost extends Error {}

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** Every kind served, in discovery order. */
  readonly kinds: readonly Kind[];
  readonly allocators: readonly Allocator[];
  /** Documents whose parsed form is kept, in bytes of JSON. */
  readonly cacheBytes?: number;
}


/**
 * Typed access to stored objects: the one place where a write is defaulted, admitted, validated and stored, for any kind.
 * Objects that it hands out are shared and must not be mutated; {@link Registry.modify} gives a copy to change.
 */
export class Registry {
  readonly store: Store;
  readonly kinds: readonly Kind[];
  readonly #options: RegistryOptions;
  readonly #cache: ParsedCache;
  readonly #listing: Listing;
  readonly #byPrefix: ReadonlyMap<string, Kind>;
  readonly #shared = new WeakMap<readonly Change[], readonly KindChange[]>();
  #admissions: readonly Admission[] = [];

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.store = options.store;
    this.kinds = options.kinds;
    this.#cache = new ParsedCache(options.cacheBytes ?? 16 * 1024 * 1024);
    this.#listing = new Listing(options.store, options.kinds);
    this.#byPrefix = new Map(options.kinds.map((kind) => [kind.prefix, kind]));
    // First of all subscribers, so that what any of them finds is current. Ends with the store.
    options.store.subscribe(options.store.revision, (changes) => { for (const { key } of changes) this.#cache.forgetCurrent(key); }, new AbortController().signal);
  }

  /** Sets the admission chain. Plugins read this registry, so they come after it; called once, before the first write. */
  useAdmissions(admissions: readonly Admission[]): void {
    this.#admissions = admissions;
  }

  // ---- reading

  /** The stored object, or undefined. `namespace` is `''` for a cluster-scoped kind. */
  stored<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string): Stored<T> | undefined {
    const entry = this.store.get(storeKey(kind, namespace, name));
    return entry && this.wrap<T>(entry);
  }

  /** @throws StatusError 404 */
  get<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string): Stored<T> {
    const stored = this.stored(kind, namespace, name);
    if (!stored) throw notFound(kind, name);
    return stored;
  }

  find<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string): T | undefined {
    const key = storeKey(kind, namespace, name);
    return this.#cache.current<T>(key) ?? this.#load<T>(key);
  }

  #load<T extends KubeObject>(key: string): T | undefined {
    const newest = this.#newest<T>(key);
    if (newest) this.#cache.setCurrent(key, newest.revision);
    return newest?.object;
  }

  /** The newest state in its parsed form, with its revision: cheaper than {@link get}, as the document is read only where it has to be parsed. @throws StatusError 404 */
  newest<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string): { readonly revision: number; readonly object: T } {
    const newest = this.#newest<T>(storeKey(kind, namespace, name));
    if (!newest) throw notFound(kind, name);
    return newest;
  }

  #newest<T extends KubeObject>(key: string): { readonly revision: number; readonly object: T } | undefined {
    const revision = this.store.revisionOf(key);
    if (revision === 0) return undefined;
    return { revision, object: this.#cache.known<T>(revision) ?? this.#cache.parse<T>(revision, this.store.get(key)!.bytes) };
  }

  /** Objects of a kind in key order, parsed one at a time; of all namespaces when none is given. */
  *each<T extends KubeObject>(kind: Kind<T>, namespace?: string): Generator<T> {
    const prefix = namespace ? `${kind.prefix}${namespace}/` : kind.prefix;
    for (const entry of this.store.range(prefix, { brief: true })) yield this.#cache.parse<T>(entry.revision, entry.bytes);
  }

  all<T extends KubeObject>(kind: Kind<T>, namespace?: string): T[] {
    return [...this.each(kind, namespace)];
  }

  /** Hands every object of some kinds to a reader, in one pass over the store for all who begin at about the same time: see {@link Listing.read}. */
  read(reader: Reader, signal: AbortSignal): Promise<void> {
    return this.#listing.read(reader, signal);
  }

  /** A store entry with its parsed form on demand. */
  wrap<T extends KubeObject>(entry: Entry): Stored<T> {
    const cache = this.#cache;
    return {
      revision: entry.revision,
      bytes: entry.bytes,
      get object() { return cache.parse<T>(entry.revision, entry.bytes); },
    };
  }

  /**
   * Calls `onChanges` with every change after `after`, in order, batch by batch; one array instance for all live subscribers.
   * Changes of the store's own bookkeeping (claims) are left out, so a batch may be empty.
   * @throws StatusError 410 as {@link Store.subscribe}
   */
  changes(after: number, onChanges: (changes: readonly KindChange[]) => void, signal: AbortSignal): void {
    this.store.subscribe(after, (changes) => {
      let shared = this.#shared.get(changes);
      if (!shared) this.#shared.set(changes, shared = changes.flatMap((change) => this.#kindChange(change) ?? []));
      if (shared.length > 0) onChanges(shared);
    }, signal);
  }

  /** Deletions after a revision up to another one, in order, as far as the store remembers them. */
  deletions(after: number, upTo: number): KindChange[] {
    return this.store.deletions(after, upTo).flatMap((change) => this.#kindChange(change) ?? []);
  }

  #kindChange(change: Change): KindChange | undefined {
    const [group, plural, ...rest] = change.key.split('/');
    const kind = this.#byPrefix.get(`${group}/${plural}/`);
    if (!kind) return undefined;
    const { store } = this;
    const cache = this.#cache;
    const { revision, bytes, previous } = change;
    return {
      kind, revision, bytes,
      namespace: kind.namespaced ? rest[0] ?? '' : '',
      name: rest[rest.length - 1] ?? '',
      type: change.type === 'delete' ? 'DELETED' : previous === 0 ? 'ADDED' : 'MODIFIED',
      get object() { return cache.parse<KubeObject>(revision, bytes); },
      get previous() {
        const before = previous > 0 ? store.at(previous) : undefined;
        return before && cache.parse<KubeObject>(before.revision, before.bytes);
      },
    };
  }

  // ---- writing

  /**
   * Creates an object from a JSON document.
   * @throws StatusError 400, 403, 404 (namespace), 409 AlreadyExists, 422
   */
  async create<T extends KubeObject>(kind: Kind<T>, namespace: string, document: unknown, options: WriteOptions = {}): Promise<Stored<T>> {
    const { value: object, errors } = this.#decode(kind, document, options);
    prepareMetadataForCreate(kind, object, namespace, this.#options.clock.now(), this.#options.random);
    if (kind.status && !kind.statusOnCreate) resetStatus(kind as unknown as Kind, object);
    kind.prepareCreate?.(object);
    kind.normalize?.(object);
    trackFields(kind, undefined, object, options, this.#options.clock.now());
    const attempt: Attempt<T> = { kind, operation: 'CREATE', subresource: options.subresource ?? '', namespace, name: nameOf(object), object, old: undefined, options };
    await this.#admit(attempt);
    this.#check(kind, object, [...validateMetadata(kind, object.metadata), ...errors, ...(kind.validate?.(object) ?? []), ...(kind.validateCreate?.(object) ?? [])]);
    await this.#validateAdmission(attempt);
    warn(kind, object, undefined, options);
    return this.#commit(kind, object, undefined, 0, options);
  }

  /**
   * Replaces an object by a JSON document. Without a resourceVersion in it the write is unconditional.
   * @throws StatusError 400, 403, 404, 409 Conflict, 422
   */
  async update<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string, document: unknown, options: WriteOptions = {}): Promise<Stored<T>> {
    const asked = (document as { metadata?: { resourceVersion?: unknown } } | null)?.metadata?.resourceVersion;
    return this.#retry(kind, name, Boolean(asked), async () => {
      const current = this.get(kind, namespace, name);
      return this.#replace(kind, namespace, name, document, current, options);
    });
  }

  /**
   * Changes an object through a function of its current state, again when somebody else was faster.
   * The function's result may be the copy that it was given, another document, or undefined for "no change".
   * @throws StatusError as {@link update}; whatever `change` throws
   */
  async modify<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string, change: (current: T) => unknown, options: WriteOptions & { preconditions?: Preconditions } = {}): Promise<Stored<T>> {
    return this.#retry(kind, name, false, async () => {
      const current = this.get(kind, namespace, name);
      checkPreconditions(kind, current.object, options.preconditions);
      const next = change(clone(current.object));
      return next === undefined ? current : this.#replace(kind, namespace, name, next, current, options);
    });
  }

  /**
   * Deletes an object, or begins to (grace period, finalizers).
   * @throws StatusError 404, 409 (preconditions), 403
   */
  async delete<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string, options: DeleteOptions = {}): Promise<Deletion<T>> {
    return this.#retry(kind, name, false, async () => {
      const stored = this.get(kind, namespace, name);
      checkPreconditions(kind, stored.object, options.preconditions);
      const attempt: Attempt<T> = { kind, operation: 'DELETE', subresource: options.subresource ?? '', namespace, name, object: stored.object, old: stored.object, options };
      await this.#admit(attempt);
      await this.#validateAdmission(attempt);
      const plan = planDeletion(kind, stored.object, options, this.#options.clock.now());
      switch (plan.type) {
        case 'nothing': return { removed: false, stored };
        case 'mark': return { removed: false, stored: await this.#commit(kind, plan.object, stored.object, stored.revision, options) };
        case 'remove': return { removed: true, stored: await this.#remove(kind, plan.object, stored.revision, options) };
      }
    });
  }

  /**
   * Replaces the finalizers in the spec of an object (a namespace) by those of a document, and removes the object when
   * it was waiting for nothing else.
   * @throws StatusError 400, 404, 409
   */
  async finalize<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string, document: unknown, options: WriteOptions = {}): Promise<Stored<T>> {
    return this.#retry(kind, name, false, async () => {
      const current = this.get(kind, namespace, name);
      const { value } = this.#decode(kind, document, options);
      this.#checkIdentity(kind, namespace, name, value, current.object);
      const object = clone(current.object);
      (object as { spec?: { finalizers?: readonly string[] } }).spec = { finalizers: specFinalizers(kind as unknown as Kind, value) };
      const waiting = object.metadata.finalizers?.length || specFinalizers(kind as unknown as Kind, object).length > 0;
      if (object.metadata.deletionTimestamp && !waiting) return this.#remove(kind, object, current.revision, options);
      return this.#commit(kind, object, current.object, current.revision, options);
    });
  }

  async #replace<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string, document: unknown, current: Stored<T>, options: WriteOptions): Promise<Stored<T>> {
    const old = current.object;
    const { value: object, errors } = this.#decode(kind, document, options);
    this.#checkIdentity(kind, namespace, name, object, old);
    prepareMetadataForUpdate(object, old);
    this.#keepOtherPart(kind, object, old, options);
    kind.prepareUpdate?.(object, old);
    kind.normalize?.(object);
    if (kind.generation && options.subresource !== 'status' && desiredStateChanged(object, old)) object.metadata.generation = (old.metadata.generation ?? 0) + 1;
    // Before admission, as in the apiserver: a writer owns what it wrote, not what plugins made of it.
    trackFields(kind, old, object, options, this.#options.clock.now());
    const attempt: Attempt<T> = { kind, operation: 'UPDATE', subresource: options.subresource ?? '', namespace, name, object, old, options };
    await this.#admit(attempt);
    this.#check(kind, object, [...errors, ...this.#updateErrors(kind, object, old, options)]);
    await this.#validateAdmission(attempt);
    warn(kind, object, old, options);
    if (object.metadata.deletionTimestamp && !object.metadata.finalizers?.length && old.metadata.finalizers?.length && !object.metadata.deletionGracePeriodSeconds && specFinalizers(kind as unknown as Kind, object).length === 0) {
      return this.#remove(kind, object, current.revision, options);
    }
    return this.#commit(kind, object, old, current.revision, options);
  }

  #checkIdentity<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string, object: T, old: T): void {
    const { metadata } = object;
    metadata.name ??= name;
    if (metadata.name !== name) throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
    placeInNamespace(kind, metadata, namespace);
    if (metadata.uid && metadata.uid !== old.metadata.uid) {
      throw conflict(kind, name, `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${old.metadata.uid}`);
    }
    if (metadata.resourceVersion && metadata.resourceVersion !== '0' && metadata.resourceVersion !== old.metadata.resourceVersion) throw conflict(kind, name);
  }

  /** A write of the object leaves its status alone; a write of the status leaves all else alone. */
  #keepOtherPart<T extends KubeObject>(kind: Kind<T>, object: T, old: T, options: WriteOptions): void {
    if (!kind.status) return;
    const [into, from] = [object as Record<string, unknown>, old as unknown as Record<string, unknown>];
    if (options.subresource !== 'status') {
      // A binding, eviction or scale writes fields of its own choice through the object.
      if (options.subresource && options.subresource !== 'scale') return;
      if (from['status'] === undefined) delete into['status'];
      else into['status'] = from['status'];
      return;
    }
    const { status } = into;
    const managed = object.metadata.managedFields;
    for (const key of Object.keys(into)) if (key !== 'status') delete into[key];
    Object.assign(into, clone(old), { status });
    if (status === undefined) delete into['status'];
    if (managed) object.metadata.managedFields = managed;
  }

  #updateErrors<T extends KubeObject>(kind: Kind<T>, object: T, old: T, options: WriteOptions): FieldError[] {
    if (options.subresource === 'status') return kind.validateStatus?.(object, old) ?? [];
    return [
      ...validateMetadata(kind, object.metadata), ...validateMetadataUpdate(object.metadata, old.metadata),
      ...(kind.validate?.(object) ?? []), ...(kind.validateUpdate?.(object, old, options.subresource) ?? []),
    ];
  }

  #decode<T extends KubeObject>(kind: Kind<T>, document: unknown, options: WriteOptions): { value: T; errors: readonly FieldError[] } {
    const unreadable = options.unreadable ?? ((why: string) => badRequest(`${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}: ${why}`));
    let decoded;
    try {
      decoded = decode<T>(kind.schema, document, { complete: true });
    } catch (error) {
      throw unreadable((error as Error).message);
    }
    const { value, unknown, errors } = decoded;
    if (unknown.length > 0 && options.fieldValidation === 'Strict') {
      throw unreadable(`strict decoding error: ${unknown.map((path) => `unknown field ${JSON.stringify(path)}`).join(', ')}`);
    }
    if (options.fieldValidation === 'Warn') for (const path of unknown) options.warn?.(`unknown field ${JSON.stringify(path)}`);
    value.apiVersion = kind.apiVersion;
    value.kind = kind.kind;
    value.metadata ??= {};
    return { value, errors };
  }

  #check(kind: Kind, object: KubeObject, errors: readonly FieldError[]): void {
    if (errors.length > 0) throw invalid(kind, nameOf(object), errors);
  }

  async #admit(attempt: Attempt): Promise<void> {
    for (const plugin of this.#admissions) {
      const admitted = plugin.admit && plugin.handles(attempt) ? plugin.admit(attempt) : undefined;
      if (admitted) await admitted;
    }
  }

  async #validateAdmission(attempt: Attempt): Promise<void> {
    for (const plugin of this.#admissions) {
      const validated = plugin.validate && plugin.handles(attempt) ? plugin.validate(attempt) : undefined;
      if (validated) await validated;
    }
  }

  async #commit<T extends KubeObject>(kind: Kind<T>, object: T, old: T | undefined, expect: number, options: WriteOptions): Promise<Stored<T>> {
    const key = storeKey(kind, object.metadata.namespace ?? '', object.metadata.name ?? '');
    return this.#claiming(kind, object, async (completed) => {
      const claims = this.#claims(kind, completed, old, key);
      if (old && unchanged(completed, old)) return this.wrap<T>({ key, revision: expect, bytes: toBytes(completed) });
      if (options.dryRun) return { revision: expect, bytes: toBytes(completed), object: completed };
      let bytes: Uint8Array = new Uint8Array(0);
      const put: Op = { type: 'put', key, expect, value: (revision) => (bytes = this.stamped(completed, revision)) };
      const revision = await this.#write(kind, completed, put, claims);
      return { revision, bytes, object: completed };
    });
  }

  async #remove<T extends KubeObject>(kind: Kind<T>, object: T, expect: number, options: WriteOptions): Promise<Stored<T>> {
    const key = storeKey(kind, object.metadata.namespace ?? '', object.metadata.name ?? '');
    if (options.dryRun) return { revision: expect, bytes: toBytes(object), object };
    return this.#claiming(kind, clone(object), async (last) => {
      let bytes: Uint8Array = new Uint8Array(0);
      const op: Op = { type: 'delete', key, expect, value: (revision) => (bytes = this.stamped(last, revision)) };
      const revision = await this.#write(kind, last, op, this.#claims(kind, undefined, last, key));
      return { revision, bytes, object: last };
    });
  }

  /** Runs a commit; again on a fresh copy when a value that an allocator picked for it was taken at the same time. */
  async #claiming<T extends KubeObject, R>(kind: Kind<T>, object: T, commit: (object: T) => Promise<R>): Promise<R> {
    if (!this.#options.allocators.some((allocator) => allocator.handles(kind))) return commit(object);
    for (let tries = 1; ; tries++) {
      try {
        return await commit(clone(object));
      } catch (error) {
        if (!(error instanceof ClaimLost)) throw error;
        if (tries >= maxClaimAttempts) throw conflict(kind, nameOf(object), 'a value that it needs was taken at the same time; please try again');
      }
    }
  }

  /** Encodes an object with its revision, for an {@link Op}, and keeps its parsed form for whoever hears of the change. Nobody may mutate it from then on. */
  stamped(object: KubeObject, revision: number): Uint8Array {
    const bytes = stamp(object, revision);
    this.#cache.put(revision, object, bytes.length);
    return bytes;
  }

  #claims(kind: Kind, object: KubeObject | undefined, old: KubeObject | undefined, owner: string): readonly Op[] {
    return this.#options.allocators.flatMap((allocator) => (allocator.handles(kind) ? allocator.claim(object, old, owner) : []));
  }

  /** Commits the object's op with its claims; returns the object's revision. */
  async #write(kind: Kind, object: KubeObject, op: Op, claims: readonly Op[]): Promise<number> {
    try {
      const revisions = await this.store.write([...claims, op]);
      return revisions[revisions.length - 1]!;
    } catch (error) {
      if (error instanceof ConflictError) throw error.key === op.key ? this.#lost(kind, object, op) : new ClaimLost(error.message);
      if (error instanceof StoreError) throw unavailable(`the store cannot take writes: ${error.message}`);
      throw error;
    }
  }

  #lost(kind: Kind, object: KubeObject, op: Op): StatusError {
    if (op.expect === 0) return alreadyExists(kind, nameOf(object));
    return this.store.get(op.key) ? conflict(kind, nameOf(object)) : notFound(kind, nameOf(object));
  }

  /** Runs an attempt again while it loses against concurrent writers, unless the client named the version that it meant. */
  async #retry<R>(kind: Kind, name: string, conditional: boolean, attempt: () => Promise<R>): Promise<R> {
    for (let tries = 1; ; tries++) {
      const before = this.store.revision;
      try {
        return await attempt();
      } catch (error) {
        // A conflict with nothing committed since is the client's (a precondition), not a lost race.
        if (!isConflict(error) || conditional || tries >= maxAttempts || this.store.revision === before) throw error;
      }
    }
  }
}

/** A creation leaves the status at its default, whatever the document says. */
function resetStatus(kind: Kind, object: KubeObject): void {
  const initial = nodeOf(kind.schema).fields.get('status')?.fallback;
  if (initial === undefined) delete (object as { status?: unknown }).status;
  else (object as { status?: unknown }).status = clone(initial);
}

/** `core/pods/default/web`. */
export function storeKey(kind: Kind, namespace: string, name: string): string {
  return kind.namespaced ? `${kind.prefix}${namespace}/${name}` : `${kind.prefix}${name}`;
}

/** Puts the revision into the object and encodes it. */
function stamp(object: KubeObject, revision: number): Uint8Array {
  object.metadata.resourceVersion = String(revision);
  return toBytes(object);
}

const toBytes = (object: KubeObject): Uint8Array => Buffer.from(JSON.stringify(object));

/** Same content, managers' timestamps aside: such a write is answered without one. */
function unchanged(object: KubeObject, old: KubeObject): boolean {
  const { managedFields, resourceVersion, ...metadata } = object.metadata;
  const { managedFields: oldManaged, resourceVersion: stored, ...oldMetadata } = old.metadata;
  const same = equal({ ...object, metadata }, { ...old, metadata: oldMetadata }) && equal(withoutTimes(managedFields), withoutTimes(oldManaged));
  if (same) object.metadata.resourceVersion = stored ?? resourceVersion ?? '';
  return same;
}

const withoutTimes = (entries: ObjectMeta['managedFields']): unknown => entries?.map((entry) => ({ ...entry, time: undefined }));

/** Tells a client what is odd about an object that it may write; nobody else listens. */
function warn<T extends KubeObject>(kind: Kind<T>, object: T, old: T | undefined, { warn: tell, subresource }: WriteOptions): void {
  if (tell && !subresource) for (const text of kind.warnings?.(object, old) ?? []) tell(text);
}
