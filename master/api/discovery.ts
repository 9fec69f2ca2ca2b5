import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';

/** A discovery document and the media type that names its form. */
export interface Discovery { readonly contentType: string; readonly body: unknown }

interface Subresource { readonly name: string; readonly group: string; readonly version: string; readonly kind: string; readonly verbs: readonly string[] }
interface GroupVersion { readonly group: string; readonly version: string; readonly kinds: readonly Kind[] }

/** Kinds by group and version, in the order of their first kind. */
export function groupVersions(kinds: readonly Kind[]): GroupVersion[] {
  const found = new Map<string, { group: string; version: string; kinds: Kind[] }>();
  for (const kind of kinds) {
    const entry = found.get(kind.apiVersion) ?? { group: kind.group, version: kind.version, kinds: [] };
    entry.kinds.push(kind);
    found.set(kind.apiVersion, entry);
  }
  return [...found.values()];
}

/** Every subresource of a kind, those that its flags imply included. */
export function subresourcesOf(kind: Kind): Subresource[] {
  const own = { group: kind.group, version: kind.version, kind: kind.kind };
  return [
    ...(kind.subresources ?? []).map((sub) => ({ group: sub.group ?? kind.group, version: sub.version ?? kind.version, name: sub.name, kind: sub.kind, verbs: sub.verbs })),
    ...(kind.scale ? [{ name: 'scale', group: 'autoscaling', version: 'v1', kind: 'Scale', verbs: ['get', 'patch', 'update'] }] : []),
    ...(kind.status ? [{ ...own, name: 'status', verbs: ['get', 'patch', 'update'] }] : []),
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Groups that only actions on objects of other groups belong to, such as evictions to policy/v1: without resources, but
 * clients look for the group before they make one.
 */
function groupsOfActions(kinds: readonly Kind[]): GroupVersion[] {
  const actions = kinds.flatMap((kind) => kind.subresources ?? []).filter(({ group, verbs }) => group && verbs.includes('create'));
  const served = new Set(kinds.map(({ apiVersion }) => apiVersion));
  const found = new Map(actions.map(({ group = '', version = 'v1' }) => [`${group}/${version}`, { group, version, kinds: [] }]));
  return [...found].filter(([name]) => !served.has(name)).map(([, entry]) => entry);
}

/**
 * The discovery document at a path, or undefined where there is none: `/api`, `/apis`, `/api/v1`, `/apis/G`, `/apis/G/V`.
 * `/api` and `/apis` come in the aggregated form (apidiscovery.k8s.io) when `accept` asks for it.
 */
export function discoveryAt(kinds: readonly Kind[], path: string, accept: string, serverAddress: string): Discovery | undefined {
  const all = [...groupVersions(kinds), ...groupsOfActions(kinds)];
  const [, root, group, version, ...rest] = path.replace(/\/$/, '').split('/');
  if (rest.length > 0) return undefined;
  if (root === 'api' && group === undefined) return rootDocument(all.filter((entry) => entry.group === ''), accept, () => coreVersions(all, serverAddress));
  if (root === 'api' && version === undefined) return resourceList(all.find((entry) => entry.group === '' && entry.version === group));
  if (root !== 'apis') return undefined;
  const groups = all.filter((entry) => entry.group !== '');
  if (group === undefined) return rootDocument(groups, accept, () => ({ kind: 'APIGroupList', apiVersion: 'v1', groups: groupNames(groups).map((name) => apiGroup(groups, name)) }));
  if (version === undefined) return groups.some((entry) => entry.group === group) ? json({ ...apiGroup(groups, group), kind: 'APIGroup', apiVersion: 'v1' }) : undefined;
  return resourceList(groups.find((entry) => entry.group === group && entry.version === version));
}

const json = (body: unknown): Discovery => ({ contentType: 'application/json', body });

const groupNames = (entries: readonly GroupVersion[]): string[] => [...new Set(entries.map((entry) => entry.group))];

const coreVersions = (all: readonly GroupVersion[], serverAddress: string): unknown => ({
  kind: 'APIVersions', versions: all.filter((entry) => entry.group === '').map((entry) => entry.version),
  serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
});

function apiGroup(entries: readonly GroupVersion[], name: string) {
  const versions = entries.filter((entry) => entry.group === name).map(({ version }) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions, preferredVersion: versions[0] };
}

function resourceList(entry: GroupVersion | undefined): Discovery | undefined {
  if (!entry) return undefined;
  const groupVersion = entry.group ? `${entry.group}/${entry.version}` : entry.version;
  return json({ kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: entry.kinds.flatMap(resourceEntries) });
}

function resourceEntries(kind: Kind): unknown[] {
  return [
    {
      name: kind.plural, singularName: kind.singular, namespaced: kind.namespaced, kind: kind.kind, verbs: kind.verbs,
      ...(kind.shortNames ? { shortNames: kind.shortNames } : {}), ...(kind.categories ? { categories: kind.categories } : {}),
    },
    ...subresourcesOf(kind).map((sub) => ({
      name: `${kind.plural}/${sub.name}`, singularName: '', namespaced: kind.namespaced,
      ...(sub.group !== kind.group || sub.version !== kind.version ? { group: sub.group, version: sub.version } : {}),
      kind: sub.kind, verbs: sub.verbs,
    })),
  ];
}

function rootDocument(entries: readonly GroupVersion[], accept: string, legacy: () => unknown): Discovery {
  const version = aggregatedVersion(accept);
  if (!version) return json(legacy());
  return {
    contentType: `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
    body: { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items: groupNames(entries).map((name) => aggregatedGroup(entries, name)) },
  };
}

/** The first version of the aggregated form that the client names and this server speaks. */
function aggregatedVersion(accept: string): string | undefined {
  for (const part of accept.split(',')) {
    if (!part.includes('as=APIGroupDiscoveryList')) continue;
    const version = /v=(v2beta1|v2)(?:;|\s|$)/.exec(part.trim())?.[1];
    if (version) return version;
  }
  return undefined;
}

const aggregatedGroup = (entries: readonly GroupVersion[], name: string): unknown => ({
  metadata: { name, creationTimestamp: null },
  versions: entries.filter((entry) => entry.group === name).map(({ version, kinds }) => ({ version, freshness: 'Current', resources: kinds.map(aggregatedResource) })),
});

function aggregatedResource(kind: Kind<KubeObject>): unknown {
  const subresources = subresourcesOf(kind).map((sub) => ({
    subresource: sub.name, responseKind: { group: sub.group, version: sub.version, kind: sub.kind }, verbs: sub.verbs,
  }));
  return {
    resource: kind.plural, responseKind: { group: kind.group, version: kind.version, kind: kind.kind },
    scope: kind.namespaced ? 'Namespaced' : 'Cluster', singularResource: kind.singular, verbs: kind.verbs,
    ...(kind.shortNames ? { shortNames: kind.shortNames } : {}), ...(kind.categories ? { categories: kind.categories } : {}),
    ...(subresources.length > 0 ? { subresources } : {}),
  };
}
