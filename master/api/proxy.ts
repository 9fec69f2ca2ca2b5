import { StreamReset, type ByteStream } from '../../shared/byte-stream.ts';
import { endpointSlices, type EndpointSlice } from '../../shared/kinds/endpointslice.ts';
import { nodes } from '../../shared/kinds/node.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { services, type Service } from '../../shared/kinds/service.ts';
import type { StreamRequest } from '../../shared/protocol.ts';
import { notImplemented, unavailable } from '../../shared/status.ts';
import type { Registry } from '../registry/registry.ts';
import type { Exchange } from './exchange.ts';
import { forwardRequest, forwardUpgrade, type Backend } from './proxy/forward.ts';
import { podTarget, proxyName, serviceTarget, type ProxyTarget } from './proxy/target.ts';
import type { ResourceRequest } from './request.ts';
import type { SubresourceHandler } from './subresource.ts';

export interface ProxiesOptions {
  readonly registry: Registry;
  /** In [0, 1). */
  readonly random: () => number;
  /** @throws StreamReset when the node is not connected, or has too many streams */
  readonly openStream: (node: string, request: StreamRequest) => ByteStream;
}

/** `pods/NAME/proxy`, `services/NAME/proxy` and `nodes/NAME/proxy`: any method, any path below, and upgrades. */
export function proxies(options: ProxiesOptions): SubresourceHandler[] {
  const handler = (resource: string, find: (request: ResourceRequest) => ProxyTarget): SubresourceHandler => ({
    resource, subresource: 'proxy',
    answer: async ({ x, request }) => {
      const target = find(request);
      const { path, prefix } = split(x);
      if (path === '' && (x.method === 'GET' || x.method === 'HEAD')) return redirect(x);
      return forwardRequest(x, backendOf(options, target, x, path || '/', prefix));
    },
    upgrade: async (upgrade) => {
      const target = find(upgrade.request);
      const { path, prefix } = split(upgrade.x);
      return forwardUpgrade(upgrade, backendOf(options, target, upgrade.x, path || '/', prefix));
    },
  });
  return [
    handler('pods', ({ namespace, name: id }) => {
      const name = proxyName('pod', id);
      return podTarget(options.registry.get(pods, namespace, name.name).object, name);
    }),
    handler('services', (request) => service(options, request)),
    handler('nodes', (request) => node(options, request)),
  ];
}

function service({ registry, random }: ProxiesOptions, { namespace, name: id }: ResourceRequest): ProxyTarget {
  const name = proxyName('service', id);
  const found = registry.get<Service>(services, namespace, name.name).object;
  return serviceTarget(found, slicesOf(registry, namespace, name.name), id, name, random());
}

/** Slices that the controller has made have the service's name before theirs; only others must be searched for. */
function slicesOf(registry: Registry, namespace: string, name: string): EndpointSlice[] {
  const ofService = ({ metadata }: EndpointSlice): boolean => metadata.labels?.['kubernetes.io/service-name'] === name;
  const made = [...registry.store.range(`${endpointSlices.prefix}${namespace}/${name}-`)].map((entry) => registry.wrap<EndpointSlice>(entry).object).filter(ofService);
  return made.length > 0 ? made : registry.all<EndpointSlice>(endpointSlices, namespace).filter(ofService);
}

const kubeletPort = '10250';

function node({ registry }: ProxiesOptions, { name: id }: ResourceRequest): ProxyTarget {
  const { name, port } = proxyName('node', id);
  registry.get(nodes, '', name);
  if (port && port !== kubeletPort) throw notImplemented(`port ${port} of node ${JSON.stringify(name)} cannot be reached: only its agent's own paths are served`);
  return { scheme: 'http', node: name, request: { type: 'kubelet' } };
}

/** A page's relative links need the slash. */
function redirect({ req, res }: Exchange): void {
  const [path, ...query] = req.url!.split('?');
  res.writeHead(301, { Location: [`${path}/`, ...query].join('?'), 'Content-Length': 0 });
  res.end();
}

/** The client's path in two: up to and with `proxy`, and what follows, as it was sent. */
function split({ path }: Exchange): { prefix: string; path: string } {
  const [, prefix = '', rest = ''] = /^(\/+api\/+v1\/+(?:namespaces\/+[^/]+\/+)?[^/]+\/+[^/]+\/+proxy)(\/.*)?$/.exec(path) ?? [];
  return { prefix, path: rest };
}

/** @throws StatusError 503 */
function backendOf({ openStream }: ProxiesOptions, { scheme, node: on, request }: ProxyTarget, { req }: Exchange, path: string, prefix: string): Backend {
  const mark = req.url!.indexOf('?');
  try {
    return { scheme, stream: openStream(on, request), path: path + (mark < 0 ? '' : req.url!.slice(mark)), prefix };
  } catch (error) {
    if (error instanceof StreamReset) throw unavailable(`error trying to reach service: ${error.message}`);
    throw error;
  }
}
