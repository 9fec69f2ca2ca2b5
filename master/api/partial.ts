import { bookmark, jsonList, listOpening, type Encoder, type Item } from './encoder.ts';

/** `PartialObjectMetadata` of an object. */
export function partialObject({ object }: Item, version: string): { kind: string; apiVersion: string; metadata: unknown } {
  return { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${version}`, metadata: object.metadata };
}

/** Metadata alone, for clients that follow owners and labels only. */
export function partialEncoder(version: string): Encoder {
  const encode = (item: Item): Buffer => Buffer.from(JSON.stringify(partialObject(item, version)));
  return {
    one: encode,
    open: (meta) => listOpening('PartialObjectMetadataList', `meta.k8s.io/${version}`, meta),
    item: encode,
    ...jsonList,
    event: encode,
    bookmark: (resourceVersion, annotations) => bookmark('PartialObjectMetadata', `meta.k8s.io/${version}`, resourceVersion, annotations),
  };
}
