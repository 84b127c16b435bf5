// A page that only stands there.
import { bindKeys } from "./keys.js";

bindKeys({});
