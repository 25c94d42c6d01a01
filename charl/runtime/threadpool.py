"""Importing this tells threadpoolctl of charl's threads: threadpool_limits then holds for them."""

import threadpoolctl


class CharlController(threadpoolctl.LibController):
    """Reads and sets num_threads of the loaded charl.runtime.threads. Source: threadpoolctl 3.5."""

    user_api = "charl"
    internal_api = "charl"
    filename_prefixes = ("threads.",)
    check_symbols = ("charl_num_threads", "charl_set_num_threads")

    def get_num_threads(self) -> int:
        return self.dynlib.charl_num_threads()

    def set_num_threads(self, num_threads: int) -> None:
        self.dynlib.charl_set_num_threads(num_threads)

    def get_version(self) -> None:
        return None

    def set_additional_attributes(self) -> None:
        self.threading_layer = "charl"


threadpoolctl.register(CharlController)
