import { createHash, createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../shared/clock.ts';
import { kinds } from '../../shared/kinds/index.ts';
import { endpointSlices } from '../../shared/kinds/endpointslice.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import { nodes, type Node } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { services } from '../../shared/kinds/service.ts';
import { keyOf, type KubeObject } from '../../shared/meta.ts';
import { openPki } from '../../master/pki.ts';
import { ServiceAllocator } from '../../master/registry/ipam.ts';
import { Registry } from '../../master/registry/registry.ts';
import { openLmdbStore } from '../../master/store/lmdb.ts';
import type { Op, Store } from '../../master/store/store.ts';
import { nodeName, nodeReport, podStatus } from './reports.ts';

export interface SeedOptions {
  readonly directory: string;
  readonly agents: number;
  readonly podsPerAgent: number;
  readonly services: number;
  readonly endpointsPerService: number;
  readonly serviceCidr: string;
}

/** What agents prove themselves with: one key for all of them, a certificate for each. PEM. */
export interface Credentials {
  readonly ca: string;
  readonly key: string;
  readonly certificates: readonly string[];
}

/**
 * Makes the data directory of a cluster that has run for a while: nodes with their pods running, services with their
 * endpoints, and the nodes' credentials in `credentials.json`. A master started on it finds nothing to do.
 */
export async function seed(options: SeedOptions): Promise<void> {
  mkdirSync(options.directory, { recursive: true, mode: 0o700 });
  const hash = await writeCredentials(options);
  const store = await openLmdbStore({ directory: join(options.directory, 'store') });
  try {
    const allocators = [new ServiceAllocator({ store, clock: systemClock, random: Math.random, serviceCIDR: options.serviceCidr })];
    const registry = new Registry({ store, clock: systemClock, random: Math.random, kinds, allocators });
    for (const name of ['default', 'kube-node-lease']) await registry.create(namespaces, '', { metadata: { name } });
    await put(store, times(options.agents, (index) => seededNode(index, hash)), nodes.prefix);
    await putServices(registry, options);
    await putPods(registry, options);
  } finally {
    await store.close();
  }
}

export const credentialsFile = (directory: string): string => join(directory, 'credentials.json');

async function writeCredentials({ directory, agents }: SeedOptions): Promise<string> {
  const pki = await openPki(join(directory, 'pki'), ['127.0.0.1']);
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
  const certificates: string[] = [];
  for (let index = 0; index < agents; index++) {
    certificates.push(await pki.certify({ subject: { name: `system:node:${nodeName(index)}`, groups: ['system:nodes'] }, use: 'client', days: 365 }, publicKey));
  }
  writeFileSync(credentialsFile(directory), JSON.stringify({ ca: pki.authority.certificate, key: privateKey, certificates } satisfies Credentials), { mode: 0o600 });
  return createHash('sha256').update(createPublicKey(publicKey).export({ type: 'spki', format: 'der' })).digest('base64url');
}

function seededNode(index: number, keyHash: string): Node {
  const { metadata, status } = nodeReport(index);
  const podCIDR = `10.${128 + (index >> 8)}.${index & 255}.0/24`;
  return {
    apiVersion: 'v1', kind: 'Node',
    metadata: { ...metadata, uid: randomUUID(), creationTimestamp: '2026-01-01T00:00:00Z', annotations: { 'wherry.io/public-key': keyHash } },
    spec: { podCIDR, podCIDRs: [podCIDR] }, status,
  };
}

async function putServices(registry: Registry, options: SeedOptions): Promise<void> {
  for (let index = 0; index < options.services; index++) {
    await registry.create(services, 'default', { metadata: { name: `web-${index}` }, spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }] } });
    await registry.create(endpointSlices, 'default', {
      metadata: { name: `web-${index}-x7k2p`, labels: { 'kubernetes.io/service-name': `web-${index}`, 'endpointslice.kubernetes.io/managed-by': 'bench' } },
      addressType: 'IPv4', ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: times(options.endpointsPerService, (each) => sliceEndpoint(index, each, options.agents)),
    });
  }
}

const sliceEndpoint = (service: number, index: number, agents: number): object => ({
  addresses: [`10.200.${service % 250}.${index + 1}`], conditions: { ready: true }, nodeName: nodeName((service * 10 + index) % agents),
  targetRef: { kind: 'Pod', namespace: 'default', name: `web-${service}-${index}` },
});

async function putPods(registry: Registry, { agents, podsPerAgent }: SeedOptions): Promise<void> {
  const { object: template } = await registry.create(pods, 'default', podDocument('template'), { dryRun: true });
  const batch = 100;
  for (let from = 0; from < agents; from += batch) {
    await put(registry.store, times(Math.min(batch, agents - from) * podsPerAgent, (offset): Pod => {
      const index = from + Math.floor(offset / podsPerAgent);
      return {
        ...template, metadata: { ...template.metadata, name: `pod-${index}-${offset % podsPerAgent}`, uid: randomUUID() },
        spec: { ...template.spec, nodeName: nodeName(index) }, status: podStatus(index, offset % podsPerAgent),
      };
    }), pods.prefix);
  }
}

/** A pod of the size that real ones have; nobody schedules it. */
export const podDocument = (name: string, nodeName?: string): object => ({
  apiVersion: 'v1', kind: 'Pod',
  metadata: { name, labels: { app: 'web', tier: 'front' } },
  spec: {
    schedulerName: 'none', ...(nodeName ? { nodeName } : {}),
    containers: [{
      name: 'web', image: 'registry.example.com/web:1.2.3', ports: [{ name: 'http', containerPort: 8080 }],
      resources: { requests: { cpu: '10m', memory: '16Mi' } },
      env: times(5, (index) => ({ name: `VARIABLE_${index}`, value: `value number ${index}` })),
      readinessProbe: { httpGet: { path: '/ready', port: 8080 } },
    }],
  },
});

async function put(store: Store, objects: readonly KubeObject[], prefix: string): Promise<void> {
  for (let from = 0; from < objects.length; from += 1000) {
    await store.write(objects.slice(from, from + 1000).map((object): Op => ({
      type: 'put', key: prefix + keyOf(object), expect: 0,
      value: (revision) => Buffer.from(JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } })),
    })));
  }
}

const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index));
