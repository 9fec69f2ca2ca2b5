import { leastAllocated } from './least-allocated.ts';
import { nodePorts } from './node-ports.ts';
import { nodeSelector } from './node-selector.ts';
import { nodeUnschedulable } from './node-unschedulable.ts';
import type { Plugin } from './plugin.ts';
import { resourcesFit } from './resources-fit.ts';
import { spread } from './spread.ts';
import { taintToleration } from './taint-toleration.ts';

/** Every plugin. The first that a node fails says why: cheap and lasting reasons come first, as in Kubernetes. */
export const plugins: readonly Plugin[] = [
  nodeUnschedulable, taintToleration, nodeSelector, nodePorts, resourcesFit, leastAllocated, spread,
];
