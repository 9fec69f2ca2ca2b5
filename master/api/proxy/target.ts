import type { EndpointSlice } from '../../../shared/kinds/endpointslice.ts';
import type { Pod } from '../../../shared/kinds/pod.ts';
import type { Service } from '../../../shared/kinds/service.ts';
import type { StreamRequest } from '../../../shared/protocol.ts';
import { badRequest, unavailable } from '../../../shared/status.ts';
import { hostOf } from '../../registry/pod-container.ts';

/** What a proxied request's URL names: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`. */
export interface ProxyName {
  readonly scheme: 'http' | 'https';
  readonly name: string;
  /** A number or a name; `''` for none. */
  readonly port: string;
}

/** What a proxied request is sent to. */
export interface ProxyTarget {
  readonly scheme: 'http' | 'https';
  readonly node: string;
  readonly request: StreamRequest;
}

/** As apimachinery's SplitSchemeNamePort. @throws StatusError 400 */
export function proxyName(resource: string, id: string): ProxyName {
  const parts = id.split(':');
  const [scheme, name, port] = parts.length === 3 ? parts : ['', ...parts];
  if (parts.length > 3 || !name || !['', 'http', 'https'].includes(scheme!)) throw badRequest(`invalid ${resource} request ${JSON.stringify(id)}`);
  return { scheme: scheme === 'https' ? 'https' : 'http', name, port: port ?? '' };
}

/** The pod's port of that number or name; without one the first that it declares, or the scheme's own. @throws StatusError 400 */
export function podTarget(pod: Pod, { scheme, name, port }: ProxyName): ProxyTarget {
  const node = hostOf(pod);
  const declared = pod.spec.containers.flatMap(({ ports = [] }) => ports);
  const found = port === '' ? declared[0]?.containerPort ?? (scheme === 'https' ? 443 : 80)
    : /^\d+$/.test(port) ? Number(port) : declared.find((one) => one.name === port)?.containerPort;
  if (found === undefined || found < 1 || found > 0xffff) throw badRequest(`invalid port ${JSON.stringify(port)} of pod ${JSON.stringify(name)}`);
  const { namespace = '', uid = '' } = pod.metadata;
  return { scheme, node, request: { type: 'portForward', namespace, pod: name, uid, port: found } };
}

/**
 * One of the service's ready pods; `random` in [0, 1) says which. As apiserver's, a port's number is the service's, and
 * addresses that are no pods' are left out. @throws StatusError 503
 */
export function serviceTarget(service: Service, slices: readonly EndpointSlice[], id: string, { scheme, name, port }: ProxyName, random: number): ProxyTarget {
  const portName = /^\d+$/.test(port) ? service.spec.ports?.find((one) => one.port === Number(port)) : { name: port };
  if (!portName) throw unavailable(`no service port ${port} found for service ${JSON.stringify(name)}`);
  const targets = slices.flatMap((slice) => targetsOf(slice, portName.name ?? '', scheme));
  const target = targets[Math.floor(random * targets.length)];
  if (!target) throw unavailable(`no endpoints available for service ${JSON.stringify(slices.some(({ endpoints }) => endpoints.length > 0) ? id : name)}`);
  return target;
}

function targetsOf({ metadata, endpoints, ports = [] }: EndpointSlice, portName: string, scheme: ProxyTarget['scheme']): ProxyTarget[] {
  const port = ports.find(({ name, protocol }) => name === portName && protocol === 'TCP')?.port;
  if (!port) return [];
  return endpoints.flatMap(({ nodeName: node, targetRef: pod, conditions }) => {
    if (!node || pod?.kind !== 'Pod' || !pod.name || conditions.ready === false) return [];
    return [{ scheme, node, request: { type: 'portForward', namespace: metadata.namespace ?? '', pod: pod.name, uid: pod.uid ?? '', port } }];
  });
}
