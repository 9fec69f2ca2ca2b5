import { rbacGroup } from '../../shared/kinds/rbac.ts';
import type { Held, Policy } from '../registry/policy.ts';
import type { Access, Authorizer, Decision, Rules } from './authorize.ts';

/** Decides by roles and bindings, as Kubernetes' RBAC authorizer, with its reasons. */
export const rbacAuthorizer = (policy: Policy): Authorizer => ({
  authorize: (access) => decide(policy, access),
  rulesFor(user, namespace): Rules {
    const rules = policy.rules(user, namespace);
    return {
      resourceRules: rules.filter(({ resources }) => resources?.length)
        .map(({ verbs = [], apiGroups = [], resources = [], resourceNames }) => ({ verbs, apiGroups, resources, ...(resourceNames?.length ? { resourceNames } : {}) })),
      nonResourceRules: rules.filter(({ nonResourceURLs }) => nonResourceURLs?.length).map(({ verbs = [], nonResourceURLs = [] }) => ({ verbs, nonResourceURLs })),
    };
  },
});

function decide(policy: Policy, { user, verb, resource, path }: Access): Decision {
  const found = policy.find(user, resource?.namespace ?? '', resource ? { verb, ...resource } : { verb, path });
  if (found) return { allowed: true, reason: `RBAC: allowed by ${bindingText(found)}` };
  const missing = [...policy.held(user, resource?.namespace ?? '')].filter(({ rules }) => !rules).map(notThere);
  if (missing.length === 0) return { allowed: false };
  return { allowed: false, reason: `RBAC: ${missing.length === 1 ? missing[0]! : `[${missing.join(', ')}]`}` };
}

const notThere = ({ binding: { roleRef } }: Held): string => `${roleRef.kind.toLowerCase()}.${rbacGroup} ${JSON.stringify(roleRef.name)} not found`;

function bindingText({ binding: { metadata, roleRef }, subject }: Held): string {
  const name = metadata.namespace ? `RoleBinding "${metadata.name}/${metadata.namespace}"` : `ClusterRoleBinding ${JSON.stringify(metadata.name)}`;
  const who = subject.kind === 'ServiceAccount' ? `${subject.name}/${subject.namespace}` : subject.name;
  return `${name} of ${roleRef.kind} ${JSON.stringify(roleRef.name)} to ${subject.kind} ${JSON.stringify(who)}`;
}

/** Allows what one of several authorizers allows; the last reason of those that do not is told. */
export const anyOf = (...authorizers: readonly Authorizer[]): Authorizer => ({
  // Without a promise as long as none of them needs one: every request comes through here.
  authorize: (access) => firstAllowed(authorizers, access, { allowed: false }),
  async rulesFor(user, namespace) {
    const found = await Promise.all(authorizers.map((authorizer) => authorizer.rulesFor(user, namespace)));
    return { resourceRules: found.flatMap(({ resourceRules }) => resourceRules), nonResourceRules: found.flatMap(({ nonResourceRules }) => nonResourceRules) };
  },
});

function firstAllowed([first, ...others]: readonly Authorizer[], access: Access, last: Decision): Decision | Promise<Decision> {
  if (!first) return last;
  const next = (decision: Decision): Decision | Promise<Decision> =>
    (decision.allowed ? decision : firstAllowed(others, access, decision.reason ? decision : last));
  const decision = first.authorize(access);
  return decision instanceof Promise ? decision.then(next) : next(decision);
}
