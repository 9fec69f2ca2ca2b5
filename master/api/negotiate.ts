import { notAcceptable } from '../../shared/status.ts';

/** How a client wants its answer. */
export interface Representation {
  readonly media: 'json' | 'yaml';
  /** The object itself, rows for kubectl, or its metadata alone. */
  readonly as: 'object' | 'table' | 'partial';
  /** Version of meta.k8s.io for tables and partial objects. */
  readonly version: 'v1' | 'v1beta1';
}

const json: Representation = { media: 'json', as: 'object', version: 'v1' };

const transforms: Readonly<Record<string, Representation['as']>> = { Table: 'table', PartialObjectMetadata: 'partial', PartialObjectMetadataList: 'partial' };

/**
 * Picks the first form of an Accept header that is served; `transformable` says whether tables and partial objects are.
 * @throws StatusError 406 when there is none, as for clients that take only protobuf
 */
export function negotiate(accept: string, transformable: boolean): Representation {
  if (accept === '' || accept === 'application/json' || accept === '*/*' || accept.startsWith('application/json,')) return json;
  for (const clause of clauses(accept)) {
    const found = representation(clause, transformable);
    if (found) return found;
  }
  throw notAcceptable('only the following media types are accepted: application/json, application/yaml');
}

interface Clause { readonly media: string; readonly parameters: ReadonlyMap<string, string>; readonly quality: number }

/** The header's clauses, best first. */
function clauses(accept: string): Clause[] {
  return accept.split(',').map(readClause).filter(({ quality }) => quality > 0).sort((a, b) => b.quality - a.quality);
}

function readClause(text: string): Clause {
  const [media = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map(rest.map((part): [string, string] => {
    const equals = part.indexOf('=');
    return equals < 0 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)];
  }));
  const quality = Number(parameters.get('q') ?? 1);
  return { media: media.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 1 : quality };
}

function representation({ media, parameters }: Clause, transformable: boolean): Representation | undefined {
  const form = mediaOf(media);
  if (!form) return undefined;
  const as = parameters.get('as');
  if (as === undefined) return { ...json, media: form };
  const version = parameters.get('v') ?? '';
  const known = Object.hasOwn(transforms, as) ? transforms[as] : undefined;
  if (!transformable || !known || parameters.get('g') !== 'meta.k8s.io' || (version !== 'v1' && version !== 'v1beta1')) return undefined;
  return { media: form, as: known, version };
}

function mediaOf(media: string): Representation['media'] | undefined {
  if (media === 'application/json' || media === '*/*' || media === 'application/*') return 'json';
  return media === 'application/yaml' ? 'yaml' : undefined;
}
