import { namespaces } from '../../shared/kinds/namespace.ts';
import { forbidden, notFound, StatusError } from '../../shared/status.ts';
import type { Admission, Attempt } from '../registry/types.ts';
import type { AdmissionContext } from './plugin.ts';

const immortal: ReadonlySet<string> = new Set(['default', 'kube-system', 'kube-public']);

/** Nothing is created in a namespace that does not exist or is ending, and some namespaces are never deleted. */
export function namespaceLifecycle({ registry }: AdmissionContext): Admission {
  return {
    name: 'NamespaceLifecycle',
    handles: (attempt) => isCreation(attempt) || isNamespaceDeletion(attempt),
    // In the admit step, so that nothing else is done for an object that has no place to be.
    admit(attempt) {
      if (isNamespaceDeletion(attempt)) {
        if (immortal.has(attempt.name)) throw forbidden(namespaces, attempt.name, 'this namespace may not be deleted');
        return;
      }
      const namespace = registry.find(namespaces, '', attempt.namespace);
      if (!namespace) throw notFound(namespaces, attempt.namespace);
      if (namespace.metadata.deletionTimestamp) throw ending(attempt);
    },
  };
}

const isCreation = (attempt: Attempt): boolean => attempt.operation === 'CREATE' && attempt.subresource === '' && attempt.kind.namespaced;
const isNamespaceDeletion = ({ kind, operation }: Attempt): boolean => operation === 'DELETE' && kind.prefix === namespaces.prefix;

function ending({ kind, name, namespace }: Attempt): StatusError {
  const { code, reason, message, details } = forbidden(kind, name, `unable to create new content in namespace ${namespace} because it is being terminated`);
  const cause = { reason: 'NamespaceTerminating', message: `namespace ${namespace} is being terminated`, field: 'metadata.namespace' };
  return new StatusError(code, reason, message, { ...details, causes: [cause] });
}
