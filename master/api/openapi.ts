import { createHash } from 'node:crypto';
import type { Kind } from '../../shared/kind.ts';
import { nodeOf, type Node, type Schema } from '../../shared/schema.ts';
import { groupVersions } from './discovery.ts';
import { encodeOpenApiV2 } from './openapi-protobuf.ts';

type Json = Record<string, unknown>;
/** Which dialect a schema is written in; they differ in where definitions live and in what may stand beside a `$ref`. */
interface Dialect { readonly prefix: string; readonly version: 2 | 3 }

/** Gives definitions their full names: `core.v1.Pod` → `io.k8s.api.core.v1.Pod`. */
export function fullName(definition: string): string {
  return definition.startsWith('meta.') ? `io.k8s.apimachinery.pkg.apis.${definition}` : `io.k8s.api.${definition}`;
}

export interface OpenApiOptions {
  readonly kinds: readonly Kind[];
  /** Schemas of subresources' documents that no kind stores, such as Scale and Eviction. */
  readonly extras: readonly Schema[];
  readonly version: string;
}

/** An answer and its media type. */
export interface OpenApiAnswer { readonly contentType: string; readonly body: Uint8Array; readonly etag: string }

/** OpenAPI v2 and v3 documents, each made when first asked for and kept as bytes. */
export class OpenApi {
  readonly #options: OpenApiOptions;
  readonly #made = new Map<string, OpenApiAnswer>();

  constructor(options: OpenApiOptions) {
    this.#options = options;
  }

  /** `/openapi/v2`, in the protobuf form when the client asks for it (kubectl up to 1.26 does). */
  v2(accept: string): OpenApiAnswer {
    const protobuf = accept.includes('proto-openapi.spec.v2@v1.0+protobuf');
    // The media type is echoed without its `@`-less alias, as the apiserver does.
    const contentType = protobuf ? 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf' : 'application/json';
    return this.#make(`v2 ${protobuf}`, contentType, () => {
      const document = v2Document(this.#options);
      return protobuf ? encodeOpenApiV2(document) : Buffer.from(JSON.stringify(document));
    });
  }

  /** `/openapi/v3`: one path per group version; the hash in each URL lets clients cache for ever. */
  v3Index(): OpenApiAnswer {
    return this.#make('v3', 'application/json', () => {
      const paths = groupVersions(this.#options.kinds).map(({ group, version }) => {
        const path = group ? `apis/${group}/${version}` : `api/${version}`;
        return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${this.v3(path)?.etag ?? ''}` }];
      });
      return Buffer.from(JSON.stringify({ paths: Object.fromEntries(paths) }));
    });
  }

  /** The document of `api/v1` or `apis/GROUP/VERSION`; undefined for one that is not served. */
  v3(path: string): OpenApiAnswer | undefined {
    const kinds = this.#options.kinds.filter((kind) => path === (kind.group ? `apis/${kind.group}/${kind.version}` : `api/${kind.version}`));
    if (kinds.length === 0) return undefined;
    return this.#make(`v3 ${path}`, 'application/json', () => Buffer.from(JSON.stringify(v3Document(kinds, this.#options))));
  }

  #make(key: string, contentType: string, build: () => Uint8Array): OpenApiAnswer {
    let answer = this.#made.get(key);
    if (!answer) {
      const body = build();
      answer = { contentType, body, etag: createHash('sha512').update(body).digest('hex').toUpperCase().slice(0, 64) };
      this.#made.set(key, answer);
    }
    return answer;
  }
}

function v2Document({ kinds, extras, version }: OpenApiOptions): Json {
  const dialect: Dialect = { prefix: '#/definitions/', version: 2 };
  return {
    swagger: '2.0', info: { title: 'Kubernetes', version },
    paths: pathsOf(kinds, dialect), definitions: definitionsOf(kinds, extras, dialect),
  };
}

function v3Document(kinds: readonly Kind[], { extras, version }: OpenApiOptions): Json {
  const dialect: Dialect = { prefix: '#/components/schemas/', version: 3 };
  return {
    openapi: '3.0.0', info: { title: 'Kubernetes', version },
    paths: pathsOf(kinds, dialect), components: { schemas: definitionsOf(kinds, extras, dialect) },
  };
}

// ---- definitions

function definitionsOf(kinds: readonly Kind[], extras: readonly Schema[], dialect: Dialect): Json {
  const definitions: Json = {};
  for (const kind of kinds) {
    const name = define(nodeOf(kind.schema), definitions, dialect);
    Object.assign(definitions[name] as Json, gvk(kind, kind.kind));
    define(nodeOf(kind.schema).fields.get('metadata')!, definitions, dialect);
    definitions[`${name}List`] = listDefinition(kind, name, dialect);
  }
  for (const extra of extras) {
    const node = nodeOf(extra);
    const parts = (node.facts.definition ?? '').split('.');
    const name = define(node, definitions, dialect);
    Object.assign(definitions[name] as Json, gvk({ group: parts[0] ?? '', version: parts[1] ?? '' }, parts[2] ?? ''));
  }
  Object.assign(definitions, scalarDefinitions(dialect));
  definitions[fullName('meta.v1.ListMeta')] = {
    description: 'What every list has.', type: 'object',
    properties: { continue: { type: 'string', description: 'Token for the next part.' }, remainingItemCount: { type: 'integer', format: 'int64', description: 'Items that follow this part.' }, resourceVersion: { type: 'string', description: 'Version that the list shows.' }, selfLink: { type: 'string', description: 'Deprecated and never set.' } },
  };
  return Object.fromEntries(Object.entries(definitions).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function gvk({ group, version }: { group: string; version: string }, kind: string): Json {
  return { 'x-kubernetes-group-version-kind': [{ group, kind, version }] };
}

function listDefinition(kind: Kind, name: string, dialect: Dialect): Json {
  return {
    description: `List of ${kind.plural}.`, type: 'object', required: ['items'],
    properties: {
      apiVersion: { type: 'string', description: 'Versioned schema of this representation.' },
      items: { type: 'array', description: `The ${kind.plural}.`, items: reference(name, '', dialect) },
      kind: { type: 'string', description: 'Kind of this object.' },
      metadata: reference(fullName('meta.v1.ListMeta'), 'Standard list metadata.', dialect),
    },
    ...gvk(kind, `${kind.kind}List`),
  };
}

function reference(name: string, description: string, dialect: Dialect): Json {
  const $ref = dialect.prefix + name;
  if (!description) return { $ref };
  // Beside a `$ref` OpenAPI 3.0 ignores everything, so that a description needs a wrapper.
  return dialect.version === 2 ? { $ref, description } : { description, allOf: [{ $ref }] };
}

/** Adds the definition of an object node, and what it refers to; returns its full name. */
function define(node: Node, definitions: Json, dialect: Dialect): string {
  const name = fullName(node.facts.definition ?? '');
  if (definitions[name]) return name;
  const definition: Json = { type: 'object' };
  definitions[name] = definition;
  if (node.about) definition['description'] = node.about;
  const required = [...node.fields].filter(([, field]) => field.required).map(([key]) => key);
  if (required.length > 0) definition['required'] = required;
  const properties: Json = {};
  for (const [key, field] of [...node.fields].sort(([a], [b]) => (a < b ? -1 : 1))) properties[key] = schemaOf(field, definitions, dialect);
  if (node.fields.size > 0) definition['properties'] = properties;
  if (node.facts.atomic) definition['x-kubernetes-map-type'] = 'atomic';
  return name;
}

const formats: Readonly<Record<string, string>> = { 'date-time': 'date-time', 'micro-time': 'date-time', byte: 'byte', int32: 'int32', int64: 'int64', double: 'double', 'int-or-string': 'int-or-string' };

function schemaOf(node: Node, definitions: Json, dialect: Dialect): Json {
  if (node.type === 'object' && node.facts.definition) return reference(define(node, definitions, dialect), fieldDescription(node), dialect);
  const scalar = scalars[node.facts.format ?? ''];
  if (scalar) return reference(scalar.name, node.description, dialect);
  const described: Json = node.description ? { description: node.description } : {};
  const format = node.facts.format && formats[node.facts.format] ? { format: formats[node.facts.format] } : {};
  const extensions = listExtensions(node);
  switch (node.type) {
    case 'array': return { ...described, type: 'array', items: schemaOf(node.item!, definitions, dialect), ...extensions };
    case 'record': return { ...described, type: 'object', additionalProperties: schemaOf(node.item!, definitions, dialect), ...extensions };
    case 'object': return { ...described, type: 'object' };
    case 'number': return { ...described, type: node.facts.format === 'double' ? 'number' : 'integer', ...format };
    case 'boolean': return { ...described, type: 'boolean' };
    case 'picklist': return { ...described, type: 'string', enum: [...node.options] };
    case 'string': case 'union': return { ...described, type: 'string', ...format };
    case 'unknown': return { ...described, type: 'object' };
  }
}

/** What a field says beside what its type says: elements of lists and maps say nothing of their own. */
const fieldDescription = ({ description, about }: Node): string => (description === about ? '' : description);

/** Types that are neither plain text nor plain numbers, which Kubernetes defines by name. */
const scalars: Readonly<Record<string, { readonly name: string; readonly about: string; readonly types: readonly string[]; readonly format?: string }>> = {
  'int-or-string': { name: 'io.k8s.apimachinery.pkg.util.intstr.IntOrString', about: 'A number, or text.', types: ['integer', 'string'], format: 'int-or-string' },
  quantity: { name: 'io.k8s.apimachinery.pkg.api.resource.Quantity', about: 'A fixed-point number, such as 500m or 1Gi.', types: ['string', 'number'] },
};

function scalarDefinitions({ version }: Dialect): Json {
  return Object.fromEntries(Object.values(scalars).map(({ name, about, types, format }) => [name, {
    description: about, ...(format ? { format } : {}),
    ...(version === 2 ? { type: 'string' } : { oneOf: types.map((type) => ({ type })) }),
  }]));
}

function listExtensions({ facts }: Node): Json {
  return {
    ...(facts.listType ? { 'x-kubernetes-list-type': facts.listType } : {}),
    ...(facts.listMapKeys && facts.listType === 'map' ? { 'x-kubernetes-list-map-keys': [...facts.listMapKeys] } : {}),
    ...(facts.patchMergeKey ? { 'x-kubernetes-patch-merge-key': facts.patchMergeKey } : {}),
    ...(facts.patchStrategy ? { 'x-kubernetes-patch-strategy': facts.patchStrategy } : {}),
    ...(facts.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
  };
}

// ---- paths

const actions = {
  get: ['get', 'Reads'], list: ['list', 'Lists'], create: ['post', 'Creates'], update: ['put', 'Replaces'],
  patch: ['patch', 'Changes parts of'], delete: ['delete', 'Deletes'], deletecollection: ['deletecollection', 'Deletes a collection of'],
} as const;
type Action = keyof typeof actions;
const methods: Record<Action, string> = { get: 'get', list: 'get', create: 'post', update: 'put', patch: 'patch', delete: 'delete', deletecollection: 'delete' };
const collectionActions: readonly Action[] = ['list', 'create', 'deletecollection'];
const itemActions: readonly Action[] = ['get', 'update', 'patch', 'delete'];

function pathsOf(kinds: readonly Kind[], dialect: Dialect): Json {
  const paths: Json = {};
  for (const kind of kinds) {
    const root = kind.group ? `/apis/${kind.group}/${kind.version}` : `/api/${kind.version}`;
    const collection = kind.namespaced ? `${root}/namespaces/{namespace}/${kind.plural}` : `${root}/${kind.plural}`;
    addPath(paths, collection, kind, collectionActions, dialect);
    addPath(paths, `${collection}/{name}`, kind, itemActions, dialect);
    if (kind.namespaced) addPath(paths, `${root}/${kind.plural}`, kind, ['list'], dialect);
  }
  return paths;
}

function addPath(paths: Json, path: string, kind: Kind, wanted: readonly Action[], dialect: Dialect): void {
  const served = wanted.filter((action) => kind.verbs.includes(action));
  if (served.length === 0) return;
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => parameter(name!, 'path', dialect));
  paths[path] = {
    ...Object.fromEntries(served.map((action) => [methods[action], operation(kind, action, path, dialect)])),
    ...(parameters.length > 0 ? { parameters } : {}),
  };
}

function operation(kind: Kind, action: Action, path: string, dialect: Dialect): Json {
  const [word, verb] = actions[action];
  const name = fullName(nodeOf(kind.schema).facts.definition ?? '') + (action === 'list' ? 'List' : '');
  const scope = path.includes('{namespace}') ? 'Namespaced' : kind.namespaced ? 'ForAllNamespaces' : '';
  const parameters = queryParameters(action).map((query) => parameter(query, 'query', dialect));
  const writes = action === 'create' || action === 'update';
  const body = reference(name, '', dialect);
  const versionTag = `${kind.group || 'core'}_${kind.version}`;
  return {
    description: `${verb} ${action === 'list' || action === 'deletecollection' ? kind.plural : kind.kind}.`, operationId: `${action}_${versionTag}_${scope}${kind.kind}`, tags: [versionTag],
    ...(dialect.version === 2
      ? { consumes: ['application/json'], produces: ['application/json'], parameters: [...parameters, ...(writes ? [{ in: 'body', name: 'body', required: true, schema: body }] : [])], responses: { 200: { description: 'OK', schema: body } } }
      : { parameters, ...(writes ? { requestBody: { required: true, content: { 'application/json': { schema: body } } } } : {}), responses: { 200: { description: 'OK', content: { 'application/json': { schema: body } } } } }),
    'x-kubernetes-action': word,
    'x-kubernetes-group-version-kind': { group: kind.group, kind: kind.kind, version: kind.version },
  };
}

function queryParameters(action: Action): string[] {
  switch (action) {
    case 'get': return [];
    case 'list': return ['continue', 'fieldSelector', 'labelSelector', 'limit', 'resourceVersion', 'resourceVersionMatch', 'sendInitialEvents', 'timeoutSeconds', 'watch', 'allowWatchBookmarks'];
    case 'create': case 'update': return ['dryRun', 'fieldManager', 'fieldValidation'];
    case 'patch': return ['dryRun', 'fieldManager', 'fieldValidation', 'force'];
    case 'delete': return ['dryRun', 'gracePeriodSeconds', 'propagationPolicy'];
    case 'deletecollection': return ['dryRun', 'fieldSelector', 'gracePeriodSeconds', 'labelSelector', 'propagationPolicy'];
  }
}

const parameterTypes: Readonly<Record<string, string>> = { limit: 'integer', timeoutSeconds: 'integer', gracePeriodSeconds: 'integer', watch: 'boolean', force: 'boolean', sendInitialEvents: 'boolean', allowWatchBookmarks: 'boolean' };

function parameter(name: string, place: 'path' | 'query', dialect: Dialect): Json {
  const type = parameterTypes[name] ?? 'string';
  const common = { in: place, name, ...(place === 'path' ? { required: true } : {}) };
  return dialect.version === 2 ? { ...common, type, uniqueItems: true } : { ...common, schema: { type, uniqueItems: true } };
}
