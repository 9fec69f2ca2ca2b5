import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import type { Op } from '../store/store.ts';

/** Who makes a request. */
export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  /** What else is known of them, such as the pod that a token is bound to. */
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** How a write is made. Controllers pass `{ user }` at most; the API fills in all of it. */
export interface WriteOptions {
  readonly user?: User;
  /** Name under which written fields are tracked in `metadata.managedFields`; absent: not tracked. */
  readonly fieldManager?: string;
  readonly dryRun?: boolean;
  /** What to do about fields that the schema does not know, or that occur twice. Default Ignore. */
  readonly fieldValidation?: 'Strict' | 'Warn' | 'Ignore';
  readonly subresource?: 'status' | 'scale' | 'binding' | 'eviction' | 'token' | 'ephemeralcontainers';
  /** Makes the error for a document that the schema cannot read, of what Go's decoder would say; 400 by default. */
  readonly unreadable?: (why: string) => Error;
  /** Receives warnings for the client (`Warning` headers). */
  readonly warn?: (message: string) => void;
}

/** An object as it is stored. Both forms are shared: never mutate them. */
export interface Stored<T extends KubeObject = KubeObject> {
  readonly revision: number;
  /** The JSON document. */
  readonly bytes: Uint8Array;
  /** Its parsed form, made when first read. */
  readonly object: T;
}

export interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export type Propagation = 'Background' | 'Foreground' | 'Orphan';

export interface DeleteOptions extends WriteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: Propagation;
  readonly preconditions?: Preconditions;
}

/** What a deletion led to: `removed` false means that it has only begun (grace period, finalizers). */
export interface Deletion<T extends KubeObject> {
  readonly removed: boolean;
  readonly stored: Stored<T>;
}

/** A write on its way through admission. Plugins mutate `object` in their admit step, and throw StatusError to refuse. */
export interface Attempt<T extends KubeObject = KubeObject> {
  readonly kind: Kind<T>;
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE';
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** The new object; for DELETE the stored one. */
  readonly object: T;
  readonly old: T | undefined;
  readonly options: WriteOptions;
}

/** One admission plugin. Both steps may read the registry, neither writes. */
export interface Admission {
  readonly name: string;
  /** Whether the plugin has a say in this attempt; checked before either step. */
  handles(attempt: Attempt): boolean;
  admit?(attempt: Attempt): void | Promise<void>;
  validate?(attempt: Attempt): void | Promise<void>;
}

/**
 * Gives out values that no two objects may share (cluster IPs, node ports). Its ops go into the same transaction
 * as the object, so that a value is taken exactly when its object exists.
 */
export interface Allocator {
  handles(kind: Kind): boolean;
  /**
   * Completes `object` and returns the ops that claim what it uses and release what `old` used and it does not.
   * `owner` is the key to write into a claim.
   * @throws StatusError 422 when a value asked for is taken or out of range, 500 when none is left
   */
  claim(object: KubeObject | undefined, old: KubeObject | undefined, owner: string): readonly Op[];
}

/** A change as controllers and watchers see it. One instance is shared by all of them: never mutate it. */
export interface KindChange {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** JSON document; of a deletion, the last state with the deletion's resourceVersion. */
  readonly bytes: Uint8Array;
  readonly object: KubeObject;
  /** State before the change; undefined for a creation, or once compaction took it. */
  readonly previous: KubeObject | undefined;
}
