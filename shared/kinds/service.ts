import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { dnsLabel1035Errors } from '../names.ts';
import { dflt } from '../schema.ts';
import { serviceColumns } from './service-columns.ts';
import { carryOverService, normalizeService } from './service-defaults.ts';
import { ServiceSpec, ServiceStatus } from './service-spec.ts';
import { serviceWarnings, validateService, validateServiceUpdate } from './service-validation.ts';

const ServiceSchema = topLevel('core.v1.Service', {
  spec: dflt(ServiceSpec, { type: 'ClusterIP', sessionAffinity: 'None' }, 'What the service should be.'),
  status: dflt(ServiceStatus, { loadBalancer: {} }, 'What is known of it.'),
}, 'A stable name and address for a set of pods.');
export type Service = ObjectOf<typeof ServiceSchema>;

export const services = defineKind<Service>({
  group: '', version: 'v1', kind: 'Service', plural: 'services', shortNames: ['svc'], categories: ['all'], namespaced: true, schema: ServiceSchema,
  subresources: [{ name: 'proxy', kind: 'ServiceProxyOptions', verbs: ['create', 'delete', 'get', 'patch', 'update'] }],
  status: true,
  selectableFields: { 'spec.clusterIP': (o) => o.spec.clusterIP ?? '', 'spec.type': (o) => o.spec.type },
  validateName: dnsLabel1035Errors,
  normalize: normalizeService,
  prepareCreate: (o) => { o.status = { loadBalancer: {} }; },
  prepareUpdate: carryOverService,
  validate: validateService,
  validateUpdate: validateServiceUpdate,
  warnings: serviceWarnings,
  columns: serviceColumns,
});
