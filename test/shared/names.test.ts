import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configMapKeyErrors, dnsLabel1035Errors, dnsLabelErrors, dnsSubdomainErrors, envVarNameErrors, generatedName, labelValueErrors, portNameErrors, qualifiedNameErrors, randomSuffix, validateAnnotations, validateLabels } from '../../shared/names.ts';

const test = suite('names');

const subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

test('subdomains', () => {
  assert.equal(dnsSubdomainErrors('a.b-c.1'), []);
  assert.equal(dnsSubdomainErrors('A'), [subdomain]);
  assert.equal(dnsSubdomainErrors('a-', true), []);
  assert.equal(dnsSubdomainErrors('a-'), [subdomain]);
  assert.equal(dnsSubdomainErrors('a'.repeat(254)), ['must be no more than 253 bytes']);
});

test('labels', () => {
  assert.equal(dnsLabelErrors('a-1'), []);
  assert.equal(dnsLabelErrors('a_1'), [label]);
  assert.equal(dnsLabelErrors('a.b'), ['must not contain dots']);
  assert.is(dnsLabel1035Errors('1a').length, 1);
  assert.match(dnsLabel1035Errors('1a')[0]!, /^a DNS-1035 label must consist of/);
});

test('label keys and values', () => {
  for (const key of ['a', 'A.b_c-d', 'example.com/name']) assert.equal(qualifiedNameErrors(key), [], key);
  assert.match(qualifiedNameErrors('a/b/c')[0]!, /^a qualified name must consist of .* with an optional DNS subdomain prefix and '\/' \(e\.g\. 'example\.com\/MyName'\)$/);
  assert.is(qualifiedNameErrors('/a')[0], 'prefix part must be non-empty');
  assert.is(qualifiedNameErrors('a/')[0], 'name part must be non-empty');
  assert.equal(qualifiedNameErrors('a'.repeat(64)), ['name part must be no more than 63 bytes']);
  assert.equal(labelValueErrors(''), []);
  assert.match(labelValueErrors('-')[0]!, /^a valid label must be an empty string or consist of/);
  assert.equal(validateLabels({ a: '-' }, 'metadata.labels').map((e) => e.field), ['metadata.labels']);
});

test('annotations have a total size', () => {
  assert.equal(validateAnnotations({ A: 'x' }, 'metadata.annotations'), []);
  assert.equal(validateAnnotations({ a: 'x'.repeat(256 * 1024) }, 'metadata.annotations'), [
    { type: 'FieldValueTooLong', field: 'metadata.annotations', message: 'Too long: may not be more than 262144 bytes' },
  ]);
});

test('ports, keys and variables', () => {
  assert.equal(portNameErrors('http-2'), []);
  assert.equal(portNameErrors('80'), ['must contain at least one letter (a-z)']);
  assert.equal(portNameErrors('a--b'), ['must not contain consecutive hyphens']);
  assert.equal(portNameErrors('-a'), ['must not begin or end with a hyphen']);
  assert.equal(portNameErrors('A_b'), ['must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)']);
  assert.equal(configMapKeyErrors('..'), ["must not be '..'"]);
  assert.equal(configMapKeyErrors('..a'), ["must not start with '..'"]);
  assert.is(configMapKeyErrors('a/b').length, 1);
  assert.equal(envVarNameErrors('MY.VAR-1'), []);
  assert.is(envVarNameErrors('a=b').length, 1);
});

test('generated names fit into a label', () => {
  assert.match(randomSuffix(), /^[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  assert.is(randomSuffix(() => 0), 'bbbbb');
  assert.is(generatedName('web-', () => 0.999), 'web-99999');
  assert.is(generatedName('x'.repeat(80)).length, 63);
});

test.run();
