import type { LabelSelector } from './meta.ts';
import { labelValueErrors, qualifiedNameErrors } from './names.ts';
import { badRequest, fieldInvalid, type StatusError } from './status.ts';

export type Labels = Readonly<Record<string, string>>;

/** As Kubernetes' selection.Operator. */
export type Operator = '=' | '==' | '!=' | 'in' | 'notin' | 'exists' | '!' | 'gt' | 'lt';

/** One condition on one label; all conditions of a selector must hold. */
export interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  /** Sorted and without duplicates. */
  readonly values: readonly string[];
}

/** A compiled label selector. */
export interface Selector {
  readonly requirements: readonly Requirement[];
  /** Selects everything. */
  readonly empty: boolean;
  matches(labels: Labels | undefined): boolean;
  /** The string form, which {@link parseSelector} reads. */
  toString(): string;
}

const noLabels: Labels = {};

/** Whether labels meet one requirement. */
export function matchesRequirement({ key, operator, values }: Requirement, labels: Labels): boolean {
  const label = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case '=': case '==': case 'in': return label !== undefined && values.includes(label);
    case '!=': case 'notin': return label === undefined || !values.includes(label);
    case 'exists': return label !== undefined;
    case '!': return label === undefined;
    case 'gt': return label !== undefined && isInteger(label) && BigInt(label) > BigInt(values[0]!);
    case 'lt': return label !== undefined && isInteger(label) && BigInt(label) < BigInt(values[0]!);
  }
}

/** What strconv.ParseInt takes and BigInt too, within 64 bits. */
const isInteger = (text: string): boolean => /^-?\d{1,18}$/.test(text);

function printRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'exists': return key;
    case '!': return `!${key}`;
    case 'in': case 'notin': return `${key} ${operator} (${values.join(',')})`;
    case 'gt': return `${key}>${values[0]}`;
    case 'lt': return `${key}<${values[0]}`;
    case '=': case '==': case '!=': return `${key}${operator}${values[0]}`;
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function compile(requirements: readonly Requirement[]): Selector {
  const sorted = [...requirements].sort((a, b) => compare(a.key, b.key));
  return {
    requirements: sorted,
    empty: sorted.length === 0,
    matches: (labels) => sorted.every((requirement) => matchesRequirement(requirement, labels ?? noLabels)),
    toString: () => sorted.map(printRequirement).join(','),
  };
}

/** Selects everything. */
export const everything: Selector = compile([]);

/** Selects nothing: what an absent selector means. */
export const nothing: Selector = { requirements: [], empty: false, matches: () => false, toString: () => '' };

/** Checks and makes a requirement; `values` in any order. @throws StatusError 400 worded as NewRequirement words it. */
export function requirement(key: string, operator: Operator, values: readonly string[]): Requirement {
  checkKey(key);
  checkValues(operator, values);
  values.forEach((text, index) => {
    const problems = labelValueErrors(text);
    if (problems.length > 0) throw invalidAt(`values[${index}][${key}]`, text, problems.join('; '));
  });
  return { key, operator, values: [...new Set(values)].sort(compare) };
}

function invalidAt(field: string, found: unknown, why: string): StatusError {
  return badRequest(`${field}: ${fieldInvalid(field, found, why).message}`);
}

function checkKey(key: string): void {
  const problems = qualifiedNameErrors(key);
  if (problems.length > 0) throw invalidAt('<nil>', key, problems.join('; '));
}

function checkValues(operator: Operator, values: readonly string[]): void {
  const wrong = (why: string): never => { throw invalidAt('values', values, why); };
  switch (operator) {
    case 'in': case 'notin':
      if (values.length === 0) wrong("for 'in', 'notin' operators, values set can't be empty");
      return;
    case '=': case '==': case '!=':
      if (values.length !== 1) wrong('exact-match compatibility requires one single value');
      return;
    case 'exists': case '!':
      if (values.length !== 0) wrong('values set must be empty for exists and does not exist');
      return;
    case 'gt': case 'lt':
      if (values.length !== 1) wrong("for 'Gt', 'Lt' operators, exactly one value is required");
      if (!isInteger(values[0]!)) throw invalidAt('values[0]', values[0], "for 'Gt', 'Lt' operators, the value must be an integer");
  }
}

const operators: ReadonlyMap<string, Operator> = new Map([['In', 'in'], ['NotIn', 'notin'], ['Exists', 'exists'], ['DoesNotExist', '!']]);

function isLabelSelector(selector: LabelSelector | Labels): selector is LabelSelector {
  return typeof (selector as LabelSelector).matchLabels === 'object' || Array.isArray((selector as LabelSelector).matchExpressions);
}

/**
 * Compiles a LabelSelector, or a plain map of labels that must all be equal. Empty selects everything, undefined nothing.
 * @throws StatusError 400 for a bad key, operator or value.
 */
export function selectorOf(selector: LabelSelector | Labels | undefined): Selector {
  if (!selector) return nothing;
  const equal = (labels: Labels): Requirement[] => Object.entries(labels).map(([key, text]) => ({ key, operator: '=', values: [text] }));
  if (!isLabelSelector(selector)) return compile(equal(selector as Labels));
  const expressions = (selector.matchExpressions ?? []).map((expression) => {
    const operator = operators.get(expression.operator);
    if (!operator) throw badRequest(`${JSON.stringify(expression.operator)} is not a valid label selector operator`);
    return requirement(expression.key, operator, expression.values ?? []);
  });
  return compile([...equal(selector.matchLabels ?? {}), ...expressions]);
}

/** The string form of a LabelSelector or map: what `scale.status.selector` holds. */
export const formatSelector = (selector: LabelSelector | Labels | undefined): string => selectorOf(selector).toString();

type TokenType = 'identifier' | 'in' | 'notin' | '=' | '==' | '!=' | '!' | '>' | '<' | '(' | ')' | ',' | 'end' | 'error';
interface Token { readonly type: TokenType; readonly text: string }

const symbols: readonly TokenType[] = ['==', '!=', '=', '!', '>', '<', '(', ')', ','];
const word = /[^\s=!(),><]+/y;

function tokens(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (at < text.length) {
    if (/[ \t\r\n]/.test(text[at]!)) { at++; continue; }
    const symbol = symbols.find((candidate) => text.startsWith(candidate, at));
    word.lastIndex = at;
    const literal = symbol ?? word.exec(text)?.[0];
    if (!literal) { found.push({ type: 'error', text: text[at]! }); break; }
    found.push({ type: symbol ?? (literal === 'in' || literal === 'notin' ? literal : 'identifier'), text: literal });
    at += literal.length;
  }
  return found;
}

/** A hand-written descent over the tokens; the messages are those of k8s.io/apimachinery/pkg/labels. */
class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(text: string) { this.#tokens = tokens(text); }

  /** The next token; `in` and `notin` are words unless an operator is due. */
  #peek(operatorDue = false): Token {
    const token = this.#tokens[this.#at] ?? { type: 'end', text: '' };
    return !operatorDue && (token.type === 'in' || token.type === 'notin') ? { type: 'identifier', text: token.text } : token;
  }

  #next(operatorDue = false): Token {
    const token = this.#peek(operatorDue);
    this.#at++;
    return token;
  }

  parse(): Requirement[] {
    const requirements: Requirement[] = [];
    for (;;) {
      const token = this.#peek();
      if (token.type === 'end') return requirements;
      if (token.type !== 'identifier' && token.type !== '!') throw expected(token, ": !, identifier, or 'end of string'");
      requirements.push(this.#wrapped());
      const after = this.#next();
      if (after.type === 'end') return requirements;
      if (after.type !== ',') throw expected(after, ": ',' or 'end of string'");
      const following = this.#peek();
      if (following.type !== 'identifier' && following.type !== '!') throw expected(following, ": identifier after ','");
    }
  }

  #wrapped(): Requirement {
    try {
      return this.#requirement();
    } catch (error) {
      throw badRequest(`unable to parse requirement: ${(error as Error).message}`);
    }
  }

  #requirement(): Requirement {
    let token = this.#next();
    const negated = token.type === '!';
    if (negated) token = this.#next();
    if (token.type !== 'identifier') throw expected(token, ': identifier');
    const key = token.text;
    checkKey(key);
    const after = this.#peek().type;
    if (negated) return { key, operator: '!', values: [] };
    if (after === 'end' || after === ',') return { key, operator: 'exists', values: [] };
    const operator = this.#operator();
    return requirement(key, operator, operator === 'in' || operator === 'notin' ? this.#list() : [this.#value()]);
  }

  #operator(): Operator {
    const token = this.#next(true);
    switch (token.type) {
      case 'in': case 'notin': case '=': case '==': case '!=': return token.type;
      case '>': return 'gt';
      case '<': return 'lt';
      case 'identifier': case '!': case '(': case ')': case ',': case 'end': case 'error':
        throw expected(token, ': in, notin, =, ==, !=, gt, lt');
    }
  }

  #value(): string {
    const ahead = this.#peek().type;
    if (ahead === 'end' || ahead === ',') return '';
    const token = this.#next();
    if (token.type !== 'identifier') throw expected(token, ': identifier');
    return token.text;
  }

  /** `(a,b)`; empty places, as in `(a,)`, stand for the empty value. */
  #list(): string[] {
    const open = this.#next();
    if (open.type !== '(') throw badRequest(`found '${open.text}' expected: '('`);
    const values: string[] = [];
    for (;;) {
      let token = this.#next();
      if (token.type === 'identifier') {
        values.push(token.text);
        token = this.#next();
      } else if (token.type === ',' || token.type === ')') values.push('');
      else throw expected(token, values.length === 0 ? ": ',', ')' or identifier" : ": ',', or identifier");
      if (token.type === ')') return values;
      if (token.type !== ',') throw expected(token, ": ',' or ')'");
    }
  }
}

const expected = (token: Token, what: string): StatusError => badRequest(`found '${token.text}', expected${what}`);

/** Compiles a label selector in string form, such as `app=web,tier in (a,b),!old`. @throws StatusError 400 */
export function parseSelector(text: string): Selector {
  return compile(new Parser(text).parse());
}

/** One condition on one field. */
export interface FieldRequirement {
  readonly field: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

/** A compiled field selector. */
export interface FieldSelector {
  readonly requirements: readonly FieldRequirement[];
  readonly empty: boolean;
  /** `get` returns a field's value in string form, `''` for an absent one. */
  matches(get: (field: string) => string): boolean;
  toString(): string;
}

/** Splits at commas that no backslash escapes. */
const splitTerms = (text: string): string[] => text.match(/(?:\\[^]|[^,\\]|\\$)+/g) ?? [];

function unescapeValue(text: string): string {
  return text.replace(/\\([^]?)|[,=]/g, (found, escaped: string | undefined) => {
    if (escaped === undefined) throw badRequest(`invalid field selector: unescaped character in value: ${found.charCodeAt(0)}`);
    if (escaped !== '\\' && escaped !== ',' && escaped !== '=') throw badRequest(`invalid field selector: invalid escape sequence: ${found}`);
    return escaped;
  });
}

const printField = ({ field, operator, value }: FieldRequirement): string => `${field}${operator}${escapeValue(value)}`;

const escapeValue = (text: string): string => text.replace(/[\\,=]/g, (found) => `\\${found}`);

/** Compiles a field selector, such as `spec.nodeName=a,status.phase!=Running`. @throws StatusError 400 */
export function parseFieldSelector(text: string): FieldSelector {
  const requirements = splitTerms(text).map((term): FieldRequirement => {
    const parts = /^(.*?)(!=|==|=)([^]*)$/s.exec(term);
    if (!parts) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    return { field: parts[1]!, operator: parts[2] === '!=' ? '!=' : '=', value: unescapeValue(parts[3]!) };
  }).sort((a, b) => compare(printField(a), printField(b)));
  return {
    requirements,
    empty: requirements.length === 0,
    matches: (get) => requirements.every(({ field, operator, value }) => (get(field) === value) === (operator === '=')),
    toString: () => requirements.map(printField).join(','),
  };
}
