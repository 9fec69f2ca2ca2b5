import './v8.mjs';
import '../main.ts';
