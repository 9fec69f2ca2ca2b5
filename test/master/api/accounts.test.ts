import { generateKeyPairSync } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { admissions } from '../../../master/admission/index.ts';
import { coreAuthorizer, type Authorizer } from '../../../master/api/authorize.ts';
import { anyOf, rbacAuthorizer } from '../../../master/api/rbac.ts';
import { tokenRequests } from '../../../master/api/token-request.ts';
import { bootstrapPolicy } from '../../../master/bootstrap-policy.ts';
import { issuerRoutes } from '../../../master/issuer-routes.ts';
import { AccountTokens } from '../../../master/registry/account-tokens.ts';
import { tokenKey } from '../../../master/registry/jwt.ts';
import { Policy } from '../../../master/registry/policy.ts';
import type { User } from '../../../master/registry/types.ts';
import { clusterRoleBindings, clusterRoles } from '../../../shared/kinds/rbac.ts';
import { serviceAccounts } from '../../../shared/kinds/serviceaccount.ts';
import { systemClock } from '../../../shared/clock.ts';
import { oneKey } from '../../fakes/token-keys.ts';
import { configMap, configMaps, openLab, pod, pods, type Answer, type Lab } from './support.ts';

const issuer = 'https://kubernetes.default.svc.cluster.local';
const key = tokenKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);
const people: Readonly<Record<string, User>> = {
  root: { name: 'root', groups: ['system:masters'] }, alice: { name: 'alice', groups: ['dev'] },
};

interface World { lab: Lab; tokens: AccountTokens; stop: AbortController }
const test = suite<World>('accounts over HTTP');

test.before(async (context) => {
  // The server wants its parts before there is a registry to make them of.
  const parts: { authorizer?: Authorizer; tokens?: AccountTokens } = {};
  const late: Authorizer = { authorize: (access) => parts.authorizer!.authorize(access), rulesFor: (user, namespace) => parts.authorizer!.rulesFor(user, namespace) };
  const handler = { resource: 'serviceaccounts', subresource: 'token', answer: (call: Parameters<ReturnType<typeof tokenRequests>['answer']>[0]) => tokenRequests(parts.tokens!).answer(call) };
  const lab = context.lab = await openLab({
    authorizer: late, subresources: [handler], routes: issuerRoutes({ issuer, keys: oneKey(key), url: () => 'https://m:6443' }),
    tokens: { authenticate: (token) => parts.tokens!.authenticate(token) ?? people[token], review: (token, audiences) => parts.tokens!.review(token, audiences) },
  });
  context.stop = new AbortController();
  const policy = new Policy(lab.registry, context.stop.signal);
  context.tokens = new AccountTokens({ registry: lab.registry, clock: systemClock, keys: oneKey(key), issuer });
  Object.assign(parts, { authorizer: anyOf(coreAuthorizer, rbacAuthorizer(policy)), tokens: context.tokens });
  await bootstrapPolicy(lab.registry);
  await lab.registry.create(serviceAccounts, 'default', { metadata: { name: 'default' } });
  await lab.registry.create(serviceAccounts, 'default', { metadata: { name: 'robot' } });
  lab.registry.useAdmissions(admissions({ registry: lab.registry, clock: systemClock, policy }));
});
test.after(async ({ lab, stop }) => { stop.abort(); await lab.close(); });

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
const rbac = '/apis/rbac.authorization.k8s.io/v1';
const post = (lab: Lab, as: string, path: string, body: unknown): Promise<Answer> => lab.client.post(path, body, bearer(as));
const review = (lab: Lab, as: string, group: string, resource: string, kind: string, spec: object): Promise<Answer> =>
  post(lab, as, `/apis/${group}/v1/${resource}`, { apiVersion: `${group}/v1`, kind, spec });

async function tokenOf(lab: Lab, spec: object = {}): Promise<string> {
  const answer = await post(lab, 'root', '/api/v1/namespaces/default/serviceaccounts/robot/token', { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec });
  assert.is(answer.code, 201, answer.text);
  return answer.json.status.token as string;
}

test('a TokenRequest is answered with what was asked for and the token', async ({ lab }) => {
  const answer = await post(lab, 'root', '/api/v1/namespaces/default/serviceaccounts/robot/token', { spec: { expirationSeconds: 1200 } });
  const { kind, apiVersion, metadata, spec, status } = answer.json;
  assert.equal([kind, apiVersion, metadata.name, metadata.namespace], ['TokenRequest', 'authentication.k8s.io/v1', 'robot', 'default']);
  assert.equal(spec, { audiences: [issuer], expirationSeconds: 1200, boundObjectRef: null });
  assert.is(Date.parse(status.expirationTimestamp) - Date.parse(metadata.creationTimestamp), 1200_000);
  assert.is((await lab.client.get('/api/v1/namespaces/default/serviceaccounts/robot/token', bearer('root'))).code, 405);
  const refused = await post(lab, 'alice', '/api/v1/namespaces/default/serviceaccounts/robot/token', {});
  assert.is(refused.json.message, 'serviceaccounts "robot" is forbidden: User "alice" cannot create resource "serviceaccounts/token" in API group "" in the namespace "default"');
});

test('a bearer is the account, and may what every known user may', async ({ lab }) => {
  const token = await tokenOf(lab);
  const { json } = await post(lab, token, '/apis/authentication.k8s.io/v1/selfsubjectreviews', {});
  assert.is(json.status.userInfo.username, 'system:serviceaccount:default:robot');
  assert.match(json.status.userInfo.extra['authentication.kubernetes.io/credential-id'][0], /^JTI=/);
  for (const path of ['/api', '/apis', '/api/v1', '/version', '/readyz', '/openapi/v3', '/.well-known/openid-configuration', '/openid/v1/jwks']) assert.is((await lab.client.get(path, bearer(token))).code, 200, path);
  const refused = await lab.client.get(pods, bearer(token));
  assert.equal([refused.code, refused.json.message], [403, 'pods is forbidden: User "system:serviceaccount:default:robot" cannot list resource "pods" in API group "" in the namespace "default"']);
  assert.is((await lab.client.get(pods, bearer(`${token}x`))).code, 401);
  assert.is((await lab.client.get(pods, bearer(await tokenOf(lab, { audiences: ['vault'] })))).code, 401);
});

test('strangers see that the server lives, and nothing of its issuer', async ({ lab }) => {
  for (const path of ['/version', '/healthz', '/livez/ping']) assert.is((await lab.client.get(path)).code, 200, path);
  for (const path of ['/api', '/openid/v1/jwks']) assert.is((await lab.client.get(path)).code, 403, path);
});

test('the documents of OpenID Connect name issuer and key', async ({ lab }) => {
  const discovery = await lab.client.get('/.well-known/openid-configuration', bearer('root'));
  assert.equal(discovery.json, {
    issuer, jwks_uri: 'https://m:6443/openid/v1/jwks', response_types_supported: ['id_token'], subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['RS256'],
  });
  const keys = await lab.client.get('/openid/v1/jwks', bearer('root'));
  assert.is(keys.headers['content-type'], 'application/jwk-set+json');
  assert.equal({ ...keys.json.keys[0], n: '' }, { use: 'sig', kty: 'RSA', kid: key.id, alg: 'RS256', n: '', e: 'AQAB' });
});

test('a TokenReview tells others whose a token is', async ({ lab }) => {
  const ask = async (spec: object) => (await review(lab, 'root', 'authentication.k8s.io', 'tokenreviews', 'TokenReview', spec)).json;
  const good = (await ask({ token: await tokenOf(lab) })).status;
  assert.equal([good.authenticated, good.user.username, good.audiences], [true, 'system:serviceaccount:default:robot', [issuer]]);
  const vault = await tokenOf(lab, { audiences: ['vault', 'b'] });
  assert.equal((await ask({ token: vault, audiences: ['vault', 'c'] })).status.audiences, ['vault']);
  const other = (await ask({ token: vault })).status;
  assert.equal([other.authenticated, other.error], [undefined, `[invalid bearer token, token audiences ["vault" "b"] is invalid for the target audiences ["${issuer}"]]`]);
  assert.is((await ask({ token: 'alice' })).status.user.username, 'alice');
  assert.is((await ask({ token: 'nonsense' })).status.error, 'invalid bearer token');
  assert.is((await ask({})).message, 'token is required for TokenReview in authentication');
  assert.is((await review(lab, 'alice', 'authentication.k8s.io', 'tokenreviews', 'TokenReview', { token: 'x' })).code, 403, 'not for everybody');
});

test('roles give, by binding, at once, and what is missing is told', async ({ lab }) => {
  const token = await tokenOf(lab);
  const binding = { metadata: { name: 'readers' }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' }, subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace: 'default' }] };
  assert.is((await post(lab, 'root', `${rbac}/namespaces/default/rolebindings`, binding)).code, 201);
  assert.match((await lab.client.get(pods, bearer(token))).json.message, /in the namespace "default": RBAC: role\.rbac\.authorization\.k8s\.io "reader" not found$/);
  const role = await post(lab, 'root', `${rbac}/namespaces/default/roles`, { metadata: { name: 'reader' }, rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }, { apiGroups: [''], resources: ['configmaps'], resourceNames: ['one'], verbs: ['get'] }] });
  assert.is(role.code, 201);
  assert.is((await lab.client.get(pods, bearer(token))).code, 200);
  assert.is((await lab.client.get('/api/v1/pods', bearer(token))).code, 403, 'not of all namespaces');
  for (const name of ['one', 'two']) await post(lab, 'root', configMaps, configMap(name));
  assert.equal([(await lab.client.get(`${configMaps}/one`, bearer(token))).code, (await lab.client.get(`${configMaps}/two`, bearer(token))).code], [200, 403]);
  const access = { resourceAttributes: { verb: 'list', resource: 'pods', namespace: 'default' } };
  const mine = await review(lab, token, 'authorization.k8s.io', 'selfsubjectaccessreviews', 'SelfSubjectAccessReview', access);
  assert.equal(mine.json.status, { allowed: true, reason: 'RBAC: allowed by RoleBinding "readers/default" of Role "reader" to ServiceAccount "robot/default"' });
  const theirs = await review(lab, 'root', 'authorization.k8s.io', 'subjectaccessreviews', 'SubjectAccessReview', { ...access, user: 'alice' });
  assert.equal(theirs.json.status, { allowed: false });
  const rules = await review(lab, token, 'authorization.k8s.io', 'selfsubjectrulesreviews', 'SelfSubjectRulesReview', { namespace: 'default' });
  assert.ok(rules.json.status.resourceRules.some((rule: { resources: string[]; verbs: string[] }) => rule.resources[0] === 'pods' && rule.verbs[0] === 'list'));
  const local = await post(lab, 'root', '/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews', { spec: { ...access, user: 'system:serviceaccount:default:robot' } });
  assert.is(local.json.status.allowed, true);
});

test('roles and bindings are checked in Kubernetes\' words', async ({ lab }) => {
  const rules = (...given: object[]) => ({ metadata: { name: 'r' }, rules: given });
  const role = (document: object) => post(lab, 'root', `${rbac}/namespaces/default/roles`, document);
  assert.is((await role(rules({ apiGroups: [''], resources: ['pods'] }))).json.message, 'Role.rbac.authorization.k8s.io "r" is invalid: rules[0].verbs: Required value: verbs must contain at least one value');
  assert.is((await role(rules({ verbs: ['get'], nonResourceURLs: ['/x'] }))).json.message, 'Role.rbac.authorization.k8s.io "r" is invalid: rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs');
  const bind = (roleRef: object, subjects: object[]) => post(lab, 'root', `${rbac}/namespaces/default/rolebindings`, { metadata: { name: 'b' }, roleRef, subjects });
  assert.match((await bind({ kind: 'Thing', name: 'x' }, [])).json.message, /roleRef\.kind: Unsupported value: "Thing": supported values: "Role", "ClusterRole"/);
  assert.match((await bind({ kind: 'Role', name: 'x' }, [{ kind: 'ServiceAccount', name: 'a' }])).json.message, /subjects\[0\]\.namespace: Required value/);
  const made = await bind({ kind: 'Role', name: 'x' }, [{ kind: 'User', name: 'u' }]);
  assert.equal(made.json.subjects, [{ kind: 'User', name: 'u', apiGroup: 'rbac.authorization.k8s.io' }]);
  const changed = await lab.client.send('PUT', `${rbac}/namespaces/default/rolebindings/b`, { ...made.json, roleRef: { ...made.json.roleRef, name: 'y' } }, bearer('root'));
  assert.is(changed.json.message, 'RoleBinding.rbac.authorization.k8s.io "b" is invalid: roleRef: Invalid value: rbac.RoleRef{APIGroup:"rbac.authorization.k8s.io", Kind:"Role", Name:"y"}: cannot change roleRef');
});

test('nobody gets more than they have: not by roles, bindings, nor labels that let others collect rules', async ({ lab }) => {
  const give = (name: string, rules: object[]) => post(lab, 'root', `${rbac}/clusterroles`, { metadata: { name }, rules });
  assert.is((await give('rbac-writer', [{ apiGroups: ['rbac.authorization.k8s.io'], resources: ['*'], verbs: ['get', 'create', 'update', 'patch'] }, { apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }])).code, 201);
  assert.is((await post(lab, 'root', `${rbac}/clusterrolebindings`, { metadata: { name: 'writer' }, roleRef: { kind: 'ClusterRole', name: 'rbac-writer' }, subjects: [{ kind: 'User', name: 'alice' }] })).code, 201);
  assert.is((await give('strong', [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }])).code, 201);
  const merge = (path: string, body: object, as = 'alice') => lab.client.send('PATCH', `${rbac}/${path}`, body, { ...bearer(as), 'content-type': 'application/merge-patch+json' });
  const refusal = /attempting to grant RBAC permissions not currently held:\n\{APIGroups:\[""\], Resources:\["secrets"\], Verbs:\["get"\]\}$/;
  const own = { metadata: { name: 'own' }, rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }] };
  assert.is((await post(lab, 'alice', `${rbac}/clusterroles`, own)).code, 201);
  assert.match((await post(lab, 'alice', `${rbac}/clusterroles`, { metadata: { name: 'more' }, rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }] })).json.message, refusal);
  assert.match((await merge('clusterroles/own', { rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }] })).json.message, refusal);
  const bind = { metadata: { name: 'mine' }, roleRef: { kind: 'ClusterRole', name: 'strong' }, subjects: [{ kind: 'User', name: 'alice' }] };
  assert.match((await post(lab, 'alice', `${rbac}/clusterrolebindings`, bind)).json.message, refusal);
  // Everybody who may view would get what the role gives.
  const labelled = await merge('clusterroles/strong', { metadata: { labels: { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' } } });
  assert.equal([labelled.code, refusal.test(labelled.json.message)], [403, true], labelled.text);
  assert.is((await merge('clusterroles/strong', { metadata: { finalizers: ['example.com/wait'] } })).code, 200, 'what the garbage collector writes is no grant');
  assert.is((await merge('clusterroles/strong', { metadata: { labels: { team: 'a' } } }, 'root')).code, 200);
  const freed = await merge('clusterroles/view', { aggregationRule: null });
  assert.is(freed.json.message, 'clusterroles.rbac.authorization.k8s.io "view" is forbidden: must have cluster-admin privileges to use the aggregationRule');
});

test('an apply that makes an object needs create; a list of one object is allowed by its name', async ({ lab }) => {
  await post(lab, 'root', `${rbac}/namespaces/default/roles`, { metadata: { name: 'one-map' }, rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['patch'] }, { apiGroups: [''], resources: ['configmaps'], resourceNames: ['only'], verbs: ['list', 'watch'] }] });
  await post(lab, 'root', `${rbac}/namespaces/default/rolebindings`, { metadata: { name: 'one-map' }, roleRef: { kind: 'Role', name: 'one-map' }, subjects: [{ kind: 'User', name: 'alice' }] });
  const apply = (name: string) => lab.client.send('PATCH', `${configMaps}/${name}?fieldManager=me`, configMap(name), { ...bearer('alice'), 'content-type': 'application/apply-patch+yaml' });
  const refused = await apply('fresh');
  assert.equal([refused.code, refused.json.message], [403, 'configmaps "fresh" is forbidden: User "alice" cannot create resource "configmaps" in API group "" in the namespace "default"']);
  assert.is((await post(lab, 'root', configMaps, configMap('only'))).code, 201);
  assert.is((await apply('only')).code, 200);
  const list = async (selector: string) => (await lab.client.get(`${configMaps}${selector}`, bearer('alice'))).code;
  assert.is(await list('?fieldSelector=metadata.name%3Donly'), 200);
  for (const selector of ['', '?fieldSelector=metadata.name%3Dother', '?fieldSelector=metadata.name!%3Donly', '?fieldSelector=metadata.namespace%3Ddefault', '?fieldSelector=metadata.namespace!%3Da%5C,metadata.name%3Donly']) assert.is(await list(selector), 403, selector);
  const both = await lab.client.get(`${configMaps}?fieldSelector=metadata.name%3Donly,metadata.name%3Dother`, bearer('alice'));
  assert.equal([both.code, both.json.items], [200, []], 'all of a selector has to hold');
});

test('what every cluster has comes back, and what somebody added stays', async ({ lab: { registry } }) => {
  await registry.delete(clusterRoles, '', 'system:discovery');
  await registry.modify(clusterRoles, '', 'system:basic-user', (role) => ({ ...role, rules: [{ verbs: ['get'], nonResourceURLs: ['/own'] }] }));
  await registry.modify(clusterRoleBindings, '', 'system:monitoring', (binding) => ({ ...binding, metadata: { ...binding.metadata, annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'false' } }, subjects: [] }));
  await bootstrapPolicy(registry);
  assert.ok(registry.find(clusterRoles, '', 'system:discovery'));
  const rules = registry.find(clusterRoles, '', 'system:basic-user')?.rules ?? [];
  assert.equal([rules[0]?.nonResourceURLs, rules.length], [['/own'], 3]);
  assert.equal(registry.find(clusterRoleBindings, '', 'system:monitoring')?.subjects ?? [], []);
  const { revision } = registry.store;
  await bootstrapPolicy(registry);
  assert.is(registry.store.revision, revision, 'a second time writes nothing');
});

test('pods get their account\'s token mounted, unless one of the two says no', async ({ lab }) => {
  const create = async (name: string, spec: object) => (await post(lab, 'root', pods, { ...pod(name), spec: { containers: [{ name: 'c', image: 'i' }], ...spec } })).json.spec;
  const { volumes: [volume], containers: [container] } = await create('yes', {});
  assert.match(volume.name, /^kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  assert.equal(volume.projected, {
    defaultMode: 420, sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } }, { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
    ],
  });
  assert.equal(container.volumeMounts, [{ name: volume.name, readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }]);
  assert.is((await create('no', { automountServiceAccountToken: false })).volumes, undefined);
  const own = await create('own', { volumes: [{ name: 'v', emptyDir: {} }], containers: [{ name: 'c', image: 'i', volumeMounts: [{ name: 'v', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }] }] });
  assert.is(own.volumes.length, 1, 'what is mounted there already stays');
  await lab.registry.create(serviceAccounts, 'default', { metadata: { name: 'shy' }, automountServiceAccountToken: false });
  assert.is((await create('shy', { serviceAccountName: 'shy' })).volumes, undefined);
  assert.is((await create('bold', { serviceAccountName: 'shy', automountServiceAccountToken: true })).volumes.length, 1, 'the pod has the last word');
});

test.run();
