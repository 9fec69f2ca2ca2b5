import { isIP } from 'node:net';
import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { atomicObj, bool, dflt, int32, list, map, obj, oneOf, opt, req, set, str } from '../schema.ts';
import { inclusiveRange, portNameErrors } from '../names.ts';
import { fieldDuplicate, fieldInvalid, fieldRequired, type FieldError } from '../status.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { endpointIPErrors } from './endpoints.ts';
import { ObjectReference } from './references.ts';

const EndpointConditions = obj('discovery.v1.EndpointConditions', {
  ready: opt(bool(), 'Whether it accepts new connections; true if absent.'),
  serving: opt(bool(), 'As ready, also while it ends.'),
  terminating: opt(bool(), 'Whether it is ending.'),
}, 'State of an endpoint.');

const ForZone = obj('discovery.v1.ForZone', { name: req(str(), 'Name of the zone.') }, 'A zone.');

const EndpointHints = obj('discovery.v1.EndpointHints', {
  forZones: opt(list(ForZone), 'Zones that should use the endpoint.'),
}, 'How an endpoint should be used.');

export const Endpoint = obj('discovery.v1.Endpoint', {
  addresses: req(set(str()), 'Addresses; all stand for the same thing.'),
  conditions: dflt(EndpointConditions, {}, 'State.'),
  hostname: opt(str(), 'Host name.'),
  targetRef: opt(ObjectReference, 'What has the addresses.'),
  deprecatedTopology: opt(map(str()), 'Deprecated.'),
  nodeName: opt(str(), 'Node that it is on.'),
  zone: opt(str(), 'Zone that it is in.'),
  hints: opt(EndpointHints, 'How it should be used.'),
}, 'One thing behind a service.');
export type Endpoint = InferOutput<typeof Endpoint>;

export const EndpointSlicePort = atomicObj('discovery.v1.EndpointPort', {
  name: dflt(str(), '', 'Name, as in the service.'),
  protocol: dflt(oneOf('SCTP', 'TCP', 'UDP'), 'TCP', 'Protocol.'),
  port: opt(int32(), 'Port number; all ports if absent.'),
  appProtocol: opt(str(), 'Application protocol.'),
}, 'A port of the slice\'s endpoints.');
export type EndpointSlicePort = InferOutput<typeof EndpointSlicePort>;

const EndpointSliceSchema = topLevel('discovery.v1.EndpointSlice', {
  addressType: req(oneOf('FQDN', 'IPv4', 'IPv6'), 'Type of the addresses.'),
  endpoints: dflt(list(Endpoint), [], 'At most 1000 endpoints.'),
  ports: opt(list(EndpointSlicePort), 'Ports that all the endpoints have.'),
}, 'A part of the endpoints of a service.');
export type EndpointSlice = ObjectOf<typeof EndpointSliceSchema>;

const maxShown = 3;
const maxEndpoints = 1000;
const maxAddresses = 100;

/** Up to three items, and how many more there are. */
function shorten(items: readonly string[]): string {
  const shown = items.slice(0, maxShown).join(',');
  return items.length > maxShown ? `${shown} + ${items.length - maxShown} more...` : shown;
}

function portsCell({ ports = [] }: EndpointSlice): string {
  return ports.length === 0 ? '<unset>' : shorten(ports.map(({ port }) => (port === undefined ? '*' : String(port))));
}

function endpointsCell(slice: EndpointSlice): string {
  const addresses = slice.endpoints.flatMap((endpoint) => endpoint.addresses);
  return addresses.length === 0 ? '<unset>' : shorten(addresses);
}

function addressErrors(address: string, type: EndpointSlice['addressType']): string[] {
  switch (type) {
    case 'IPv4': return isIP(address) === 4 ? endpointIPErrors(address) : ['must be a valid IPv4 address'];
    case 'IPv6': return isIP(address) === 6 ? endpointIPErrors(address) : ['must be a valid IPv6 address'];
    case 'FQDN': return [];
    // Reported by the schema.
    default: return [];
  }
}

const tooMany = (field: string, count: number, max: number): FieldError =>
  ({ type: 'FieldValueTooMany', field, message: `Too many: ${count}: must have at most ${max} items` });

function validateEndpoint({ addresses }: Endpoint, type: EndpointSlice['addressType'], path: string): FieldError[] {
  if (addresses.length === 0) return [fieldRequired(`${path}.addresses`, 'must contain at least 1 address')];
  if (addresses.length > maxAddresses) return [tooMany(`${path}.addresses`, addresses.length, maxAddresses)];
  return addresses.flatMap((address, at) =>
    addressErrors(address, type).map((problem) => fieldInvalid(`${path}.addresses[${at}]`, address, problem)));
}

function validatePorts({ ports = [] }: EndpointSlice): FieldError[] {
  const names = new Set<string>();
  return ports.flatMap(({ name, port }, index) => {
    const path = `ports[${index}]`;
    const errors = name ? portNameErrors(name).map((problem) => fieldInvalid(`${path}.name`, name, problem)) : [];
    if (names.has(name)) errors.push(fieldDuplicate(`${path}.name`, name));
    names.add(name);
    if (port !== undefined && (port < 1 || port > 65535)) errors.push(fieldInvalid(`${path}.port`, port, inclusiveRange(1, 65535)));
    return errors;
  });
}

function validateEndpointSlice(slice: EndpointSlice): FieldError[] {
  if (slice.endpoints.length > maxEndpoints) return [tooMany('endpoints', slice.endpoints.length, maxEndpoints)];
  return [
    ...slice.endpoints.flatMap((endpoint, index) => validateEndpoint(endpoint, slice.addressType, `endpoints[${index}]`)),
    ...validatePorts(slice),
  ];
}

const validateEndpointSliceUpdate = (slice: EndpointSlice, old: EndpointSlice): FieldError[] =>
  (slice.addressType === old.addressType ? [] : [fieldInvalid('addressType', slice.addressType, 'field is immutable')]);

export const endpointSlices = defineKind<EndpointSlice>({
  group: 'discovery.k8s.io', version: 'v1', kind: 'EndpointSlice', plural: 'endpointslices', namespaced: true, generation: true, schema: EndpointSliceSchema,
  validate: validateEndpointSlice,
  validateUpdate: validateEndpointSliceUpdate,
  columns: [
    nameColumn,
    { name: 'AddressType', type: 'string', description: 'Type of the addresses.', cell: (o) => o.addressType },
    { name: 'Ports', type: 'string', description: 'Ports of the endpoints.', cell: portsCell },
    { name: 'Endpoints', type: 'string', description: 'Addresses of the endpoints.', cell: endpointsCell },
    ageColumn,
  ],
});
