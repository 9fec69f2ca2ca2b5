import { stringify } from 'yaml';
import type { Kind } from '../../shared/kind.ts';
import { bookmark, jsonList, listOpening, type EncodeOptions, type Encoder } from './encoder.ts';
import { partialEncoder } from './partial.ts';
import { tableEncoder } from './table.ts';

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
