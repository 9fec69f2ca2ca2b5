import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import { req } from '../schema.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { ObjectReference } from './references.ts';

const BindingSchema = topLevel('core.v1.Binding', {
  target: req(ObjectReference, 'The node.'),
}, 'Ties a pod to a node.');
export type Binding = ObjectOf<typeof BindingSchema>;

function validateBinding(binding: Binding): FieldError[] {
  const errors: FieldError[] = [];
  if (binding.target.kind && binding.target.kind !== 'Node') errors.push(fieldNotSupported('target.kind', binding.target.kind, ['Node', '<empty>']));
  if (!binding.target.name) errors.push(fieldRequired('target.name'));
  return errors;
}

/** Never stored: creating one, here or at `pods/binding`, assigns the pod. */
export const bindings = defineKind<Binding>({
  group: '', version: 'v1', kind: 'Binding', plural: 'bindings', namespaced: true, schema: BindingSchema,
  verbs: ['create'],
  validate: validateBinding,
  columns: [nameColumn, ageColumn],
});
