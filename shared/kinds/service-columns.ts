import type { Column } from '../kind.ts';
import { ageColumn, formatLabels, nameColumn } from './columns.ts';
import type { ServiceParts } from './service-spec.ts';

/** The wide form is not clipped in Kubernetes; one cell serves both here, so none is. */
function externalIP({ spec, status }: ServiceParts): string {
  const external = spec.externalIPs ?? [];
  switch (spec.type) {
    case 'ExternalName': return spec.externalName ?? '';
    case 'ClusterIP': case 'NodePort': return external.join(',') || '<none>';
    case 'LoadBalancer': {
      const ingress = (status.loadBalancer.ingress ?? []).map(({ ip, hostname }) => ip || hostname || '').filter(Boolean);
      return [...new Set(ingress)].sort().concat(external).join(',') || '<pending>';
    }
  }
}

const ports = ({ spec }: ServiceParts): string => (spec.ports ?? [])
  .map(({ port, nodePort, protocol }) => (nodePort ? `${port}:${nodePort}/${protocol}` : `${port}/${protocol}`)).join(',') || '<none>';

export const serviceColumns: readonly Column<ServiceParts>[] = [
  nameColumn,
  { name: 'Type', type: 'string', description: 'How it is exposed.', cell: ({ spec }) => spec.type },
  { name: 'Cluster-IP', type: 'string', description: 'Address within the cluster.', cell: ({ spec }) => spec.clusterIPs?.[0] || spec.clusterIP || '<none>' },
  { name: 'External-IP', type: 'string', description: 'Addresses from outside.', cell: externalIP },
  { name: 'Port(s)', type: 'string', description: 'Ports, with node ports.', cell: ports },
  ageColumn,
  { name: 'Selector', type: 'string', description: 'Labels of the pods.', priority: 1, cell: ({ spec }) => formatLabels(spec.selector) },
];
