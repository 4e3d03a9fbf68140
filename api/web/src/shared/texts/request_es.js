// What words of the server mean in a request that is open, in one language: a file that is loaded when first asked for.

import texts from "../../../../../bridge/tailtrace_bridge/texts/es/request.json";

export default texts;
