import { clusterRoleBindings, clusterRoles, rbacGroup, roleBindings, roles, type PolicyRule, type RoleRef, type Subject } from '../../shared/kinds/rbac.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { subjectOf } from './account-claims.ts';
import { ruleAllows, type Wanted } from './policy-rules.ts';
import type { Registry } from './registry.ts';
import type { User } from './types.ts';

interface Binding extends KubeObject { readonly subjects?: readonly Subject[]; readonly roleRef: RoleRef }
interface Grant { readonly binding: Binding; readonly subject: Subject }
type Grants = ReadonlyMap<string, readonly Grant[]>;

/** The bindings of one moment, by subject; those of namespaces under `namespace/subject`. */
interface Snapshot { readonly cluster: Grants; readonly namespaced: Grants }

/** A role as a user has it; `rules` undefined for one that does not exist. */
export interface Held { readonly binding: Binding; readonly subject: Subject; readonly rules: readonly PolicyRule[] | undefined }

/**
 * Who may do what, by the roles and bindings in the registry. Bindings are indexed by subject, anew after a change of
 * any; roles are looked up when they are asked for.
 */
export class Policy {
  readonly #registry: Registry;
  #snapshot: Snapshot | undefined;

  /** Follows changes until `signal` aborts. */
  constructor(registry: Registry, signal: AbortSignal) {
    this.#registry = registry;
    registry.changes(registry.store.revision, (changes) => {
      if (changes.some(({ kind }) => kind.group === rbacGroup)) this.#snapshot = undefined;
    }, signal);
  }

  /** The roles of a user, cluster-wide ones first, then those of a namespace (`''`: none). */
  *held(user: User, namespace: string): Generator<Held> {
    const { cluster, namespaced } = this.#snapshot ??= this.#index();
    for (const key of keysOf(user)) for (const grant of cluster.get(key) ?? []) yield { ...grant, rules: this.#rules(grant.binding) };
    if (!namespace) return;
    for (const key of keysOf(user)) for (const grant of namespaced.get(`${namespace}/${key}`) ?? []) yield { ...grant, rules: this.#rules(grant.binding) };
  }

  /** All rules that a user has in a namespace. */
  rules(user: User, namespace: string): PolicyRule[] {
    return [...this.held(user, namespace)].flatMap(({ rules }) => rules ?? []);
  }

  /** The role that allows something, or undefined. */
  find(user: User, namespace: string, wanted: Wanted): Held | undefined {
    for (const held of this.held(user, namespace)) if (held.rules?.some((rule) => ruleAllows(rule, wanted))) return held;
    return undefined;
  }

  /** Rules of the role that a binding names; undefined when there is none. */
  rulesOf(roleRef: RoleRef, namespace: string): readonly PolicyRule[] | undefined {
    const found = roleRef.kind === 'Role' ? this.#registry.find(roles, namespace, roleRef.name) : this.#registry.find(clusterRoles, '', roleRef.name);
    return found && (found.rules ?? []);
  }

  #rules({ roleRef, metadata }: Binding): readonly PolicyRule[] | undefined {
    return this.rulesOf(roleRef, metadata.namespace ?? '');
  }

  #index(): Snapshot {
    return { cluster: bySubject(this.#registry.all(clusterRoleBindings)), namespaced: bySubject(this.#registry.all(roleBindings)) };
  }
}

function bySubject(bindings: readonly Binding[]): Grants {
  const found = new Map<string, Grant[]>();
  for (const binding of bindings) {
    const { namespace } = binding.metadata;
    for (const subject of binding.subjects ?? []) {
      const key = `${namespace ? `${namespace}/` : ''}${keyOf(subject)}`;
      const known = found.get(key);
      if (known) known.push({ binding, subject });
      else found.set(key, [{ binding, subject }]);
    }
  }
  return found;
}

const keyOf = ({ kind, name, namespace = '' }: Subject): string =>
  (kind === 'Group' ? `group ${name}` : `user ${kind === 'ServiceAccount' ? subjectOf(namespace, name) : name}`);

const keysOf = ({ name, groups }: User): string[] => [`user ${name}`, ...groups.map((group) => `group ${group}`)];
