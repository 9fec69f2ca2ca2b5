import { agentKnows } from '../../shared/protocol.ts';
import type { State } from '../state/state.ts';

/** Note of what the agent knew that last brought the state up to date, by {@link agentKnows}; without it, {@link atFirst}. */
const noteKey = 'knows';
const atFirst: readonly string[] = ['claim', 'removeVolume'];

const isSame = (state: State): boolean => {
  const noted = state.notes.get(noteKey) as readonly string[] | undefined;
  return String(noted ?? atFirst) === String(agentKnows);
};

/**
 * What to say in `hello` that is held: nothing, when another version of the agent brought the state to its revision.
 * It was not sent what it did not know, or left out what this one does not know; either way it is not all there.
 */
export const heldFor = (state: State): State['held'] => (isSame(state) ? state.held : { epoch: state.held.epoch, revision: 0 });

/** To be called once the master's first sync of a session is held. */
export async function noteKnown(state: State): Promise<void> {
  if (!isSame(state)) await state.note(noteKey, [...agentKnows]);
}
