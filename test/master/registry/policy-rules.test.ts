import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compact, missingRights, ruleAllows, ruleText } from '../../../master/registry/policy-rules.ts';

const test = suite('RBAC rules');
const pods = { verbs: ['get', 'list'], apiGroups: [''], resources: ['pods', 'pods/log'] };
const want = (verb: string, resource: string, subresource = '', name = '', group = '') => ({ verb, group, resource, subresource, name });

test('a rule allows its verbs on its resources', () => {
  assert.ok(ruleAllows(pods, want('get', 'pods')));
  assert.ok(ruleAllows(pods, want('get', 'pods', 'log')));
  for (const wanted of [want('delete', 'pods'), want('get', 'pods', 'exec'), want('get', 'pods', '', '', 'apps'), want('get', 'secrets'), { verb: 'get', path: '/pods' }]) {
    assert.not(ruleAllows(pods, wanted), JSON.stringify(wanted));
  }
});

test('stars stand for all, and before a slash for any resource', () => {
  const all = { verbs: ['*'], apiGroups: ['*'], resources: ['*'] };
  assert.ok(ruleAllows(all, want('x', 'a', 'b', 'c', 'd')));
  const scale = { verbs: ['get'], apiGroups: ['apps'], resources: ['*/scale'] };
  assert.ok(ruleAllows(scale, want('get', 'deployments', 'scale', '', 'apps')));
  assert.not(ruleAllows(scale, want('get', 'deployments', '', '', 'apps')));
});

test('names narrow a rule down, and cannot be created or listed', () => {
  const one = { verbs: ['get', 'list', 'create'], apiGroups: [''], resources: ['secrets'], resourceNames: ['a'] };
  assert.ok(ruleAllows(one, want('get', 'secrets', '', 'a')));
  assert.not(ruleAllows(one, want('get', 'secrets', '', 'b')));
  assert.not(ruleAllows(one, want('list', 'secrets')));
});

test('paths match whole, or up to a star', () => {
  const rule = { verbs: ['get'], nonResourceURLs: ['/healthz', '/openapi/*'] };
  assert.equal(['/healthz', '/healthz/x', '/openapi/v3', '/openapi'].map((path) => ruleAllows(rule, { verb: 'get', path })), [true, false, true, false]);
});

test('what goes beyond what one has, in its parts', () => {
  const more = { verbs: ['get', 'delete'], apiGroups: [''], resources: ['pods'] };
  assert.equal(missingRights([pods], [more]), [{ verbs: ['delete'], apiGroups: [''], resources: ['pods'] }]);
  assert.equal(missingRights([pods, { ...more, verbs: ['*'] }], [more]), []);
  assert.equal(missingRights([{ ...pods, resourceNames: ['a'] }], [{ ...pods, resources: ['pods'] }]).length, 2, 'a named right does not cover an unnamed one');
  assert.equal(missingRights([pods], [{ ...pods, resourceNames: ['a'] }]), []);
  assert.equal(missingRights([{ verbs: ['get'], nonResourceURLs: ['/a/*'] }], [{ verbs: ['get'], nonResourceURLs: ['/a/b', '/c'] }]), [{ verbs: ['get'], nonResourceURLs: ['/c'] }]);
  assert.is(missingRights([pods], [{ verbs: ['*'], apiGroups: [''], resources: ['pods'] }]).length, 1, 'some verbs are not all');
});

test('rules as messages show them', () => {
  assert.equal(compact([{ verbs: ['get'], apiGroups: [''], resources: ['pods'] }, { verbs: ['list'], apiGroups: [''], resources: ['pods'] }]).map(ruleText),
    ['{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}']);
  assert.is(ruleText({ verbs: ['get'], nonResourceURLs: ['/a'] }), '{NonResourceURLs:["/a"], Verbs:["get"]}');
});

test.run();
