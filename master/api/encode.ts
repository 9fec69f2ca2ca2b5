import { stringify } from 'yaml';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import type { Representation } from './negotiate.ts';
import { partialEncoder } from './partial.ts';
import { tableEncoder } from './table.ts';

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

export function encoderOf(options: EncodeOptions): Encoder {
  const { kind, representation } = options;
  switch (representation.as) {
    case 'table': return tableEncoder(options);
    case 'partial': return partialEncoder(representation.version);
    case 'object': return representation.media === 'yaml' ? yamlLists(plainEncoder(kind)) : plainEncoder(kind);
  }
}

/** Objects as they are stored. */
function plainEncoder(kind: Kind): Encoder {
  return {
    one: ({ bytes }) => bytes,
    open: (meta) => listOpening(`${kind.kind}List`, kind.apiVersion, meta),
    item: ({ bytes }) => bytes,
    ...jsonList,
    event: ({ bytes }) => bytes,
    bookmark: (resourceVersion, annotations) => bookmark(kind.kind, kind.apiVersion, resourceVersion, annotations),
  };
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

/** Go's YAML libraries read 1.1: `yes` and times must be quoted. */
const yaml11 = { version: '1.1' } as const;

/** Lists in YAML, item by item; everything else is converted as a whole when it is sent. */
function yamlLists(plain: Encoder): Encoder {
  return {
    ...plain,
    open: (meta) => {
      const { kind, apiVersion, metadata } = JSON.parse(`${plain.open(meta).toString()}]}`) as Record<string, unknown>;
      return Buffer.from(`${stringify({ kind, apiVersion, metadata }, yaml11)}items:\n`);
    },
    item: ({ object }) => Buffer.from(`- ${stringify(object, yaml11).trimEnd().replaceAll('\n', '\n  ')}\n`),
    separator: Buffer.alloc(0), close: Buffer.alloc(0), listType: 'application/yaml',
  };
}
