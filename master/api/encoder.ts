import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import type { Representation } from './negotiate.ts';

/** An object to show: its stored document, and its parsed form for those who need one. */
export interface Item {
  readonly bytes: Uint8Array;
  readonly object: KubeObject;
}

/** What a list says of itself. */
export interface ListMeta {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

/** Turns stored objects into one representation. Pieces are bytes of JSON. */
export interface Encoder {
  /** A single object as the answer to a get. */
  one(item: Item): Uint8Array;
  /** The parts of a list: opening, items with separators between them, end. */
  open(meta: ListMeta): Buffer;
  item(item: Item): Uint8Array;
  readonly separator: Buffer;
  readonly close: Buffer;
  /** Content type of a list. */
  readonly listType: 'application/json' | 'application/yaml';
  /** The `object` of a watch event; `first` on the first event of a watch. */
  event(item: Item, first: boolean): Uint8Array;
  /** The `object` of a bookmark. */
  bookmark(resourceVersion: string, annotations?: Readonly<Record<string, string>>): Buffer;
}

export interface EncodeOptions {
  readonly kind: Kind;
  readonly representation: Representation;
  /** How much of the object a table row carries. */
  readonly includeObject: 'None' | 'Metadata' | 'Object';
  /** Milliseconds since 1970, for ages. */
  readonly now: () => number;
}

/** What all lists in JSON have in common. */
export const jsonList = { separator: Buffer.from(','), close: Buffer.from(']}\n'), listType: 'application/json' } as const;

/** `{"kind":…,"apiVersion":…,"metadata":{…},"items":[`. */
export function listOpening(kind: string, apiVersion: string, meta: ListMeta): Buffer {
  return Buffer.from(`{"kind":${JSON.stringify(kind)},"apiVersion":${JSON.stringify(apiVersion)},"metadata":${JSON.stringify(meta)},"items":[`);
}

export function bookmark(kind: string, apiVersion: string, resourceVersion: string, annotations?: Readonly<Record<string, string>>): Buffer {
  return Buffer.from(JSON.stringify({ kind, apiVersion, metadata: { resourceVersion, creationTimestamp: null, ...(annotations ? { annotations } : {}) } }));
}
