import { isIP } from 'node:net';
import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { atomicObj, dflt, int32, list, obj, oneOf, opt, req, str } from '../schema.ts';
import { dnsLabelErrors, inclusiveRange } from '../names.ts';
import { fieldInvalid, fieldRequired, type FieldError } from '../status.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { ObjectReference } from './references.ts';

export const EndpointAddress = atomicObj('core.v1.EndpointAddress', {
  ip: req(str(), 'Address; not loopback or link-local.'),
  hostname: opt(str(), 'Host name.'),
  nodeName: opt(str(), 'Node that it is on.'),
  targetRef: opt(ObjectReference, 'What has this address.'),
}, 'An address behind a service.');
export type EndpointAddress = InferOutput<typeof EndpointAddress>;

export const EndpointPort = atomicObj('core.v1.EndpointPort', {
  name: opt(str(), 'Name, as in the service.'),
  port: req(int32(), 'Port number.'),
  protocol: dflt(oneOf('SCTP', 'TCP', 'UDP'), 'TCP', 'Protocol.'),
  appProtocol: opt(str(), 'Application protocol.'),
}, 'A port behind a service.');
export type EndpointPort = InferOutput<typeof EndpointPort>;

export const EndpointSubset = obj('core.v1.EndpointSubset', {
  addresses: opt(list(EndpointAddress), 'Addresses that are ready.'),
  notReadyAddresses: opt(list(EndpointAddress), 'Addresses that are not ready.'),
  ports: opt(list(EndpointPort), 'Ports that all the addresses have.'),
}, 'Addresses with the same ports.');
export type EndpointSubset = InferOutput<typeof EndpointSubset>;

const EndpointsSchema = topLevel('core.v1.Endpoints', {
  subsets: opt(list(EndpointSubset), 'Groups of addresses.'),
}, 'Addresses behind the service of the same name.');
export type Endpoints = ObjectOf<typeof EndpointsSchema>;

const maxShown = 3;

/** Up to three `address:port` pairs, and how many more there are. */
function endpointsCell({ subsets = [] }: Endpoints): string {
  if (subsets.length === 0) return '<none>';
  const all = subsets.flatMap(({ addresses = [], ports }) =>
    ports?.length ? ports.flatMap((port) => addresses.map(({ ip }) => hostPort(ip, port.port))) : addresses.map(({ ip }) => ip));
  const shown = all.slice(0, maxShown).join(',');
  return all.length > maxShown ? `${shown} + ${all.length - maxShown} more...` : shown;
}

const hostPort = (ip: string, port: number): string => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`);

/** What is wrong with an address that traffic is to be sent to. */
export function endpointIPErrors(ip: string): string[] {
  if (isIP(ip) === 0) return ['must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'];
  const errors: string[] = [];
  if (ip === '0.0.0.0' || ip === '::') errors.push('may not be unspecified (0.0.0.0 or ::)');
  if (ip.startsWith('127.') || ip === '::1') errors.push('may not be in the loopback range (127.0.0.0/8, ::1/128)');
  if (ip.startsWith('169.254.') || /^fe[89ab]/i.test(ip)) errors.push('may not be in the link-local range (169.254.0.0/16, fe80::/10)');
  if (ip.startsWith('224.0.0.') || /^ff02:/i.test(ip)) errors.push('may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)');
  return errors;
}

function validatePort(port: EndpointPort, path: string, named: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (named && !port.name) errors.push(fieldRequired(`${path}.name`));
  else if (port.name) errors.push(...dnsLabelErrors(port.name).map((problem) => fieldInvalid(`${path}.name`, port.name, problem)));
  if (port.port < 1 || port.port > 65535) errors.push(fieldInvalid(`${path}.port`, port.port, inclusiveRange(1, 65535)));
  return errors;
}

function validateEndpoints({ subsets = [] }: Endpoints): FieldError[] {
  return subsets.flatMap(({ addresses = [], notReadyAddresses = [], ports = [] }, index) => {
    const path = `subsets[${index}]`;
    if (addresses.length === 0 && notReadyAddresses.length === 0) return [fieldRequired(path, 'must specify `addresses` or `notReadyAddresses`')];
    const check = (list: readonly EndpointAddress[], field: string): FieldError[] => list.flatMap(({ ip }, at) =>
      endpointIPErrors(ip).map((problem) => fieldInvalid(`${path}.${field}[${at}].ip`, ip, problem)));
    return [
      ...check(addresses, 'addresses'), ...check(notReadyAddresses, 'notReadyAddresses'),
      ...ports.flatMap((port, at) => validatePort(port, `${path}.ports[${at}]`, ports.length > 1)),
    ];
  });
}

export const endpoints = defineKind<Endpoints>({
  group: '', version: 'v1', kind: 'Endpoints', plural: 'endpoints', shortNames: ['ep'], namespaced: true, schema: EndpointsSchema,
  validate: validateEndpoints,
  columns: [
    nameColumn,
    { name: 'Endpoints', type: 'string', description: 'Addresses and ports.', cell: endpointsCell },
    ageColumn,
  ],
});
