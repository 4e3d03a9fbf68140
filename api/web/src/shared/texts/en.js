// The texts of the page in one language, a file of their own.

import texts from "../../../../../bridge/tailtrace_bridge/texts/en/page.json";

export default texts;
