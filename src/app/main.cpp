// main: the command line, with the server handed in.
#include "app/serve.h"

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv, argv + argc);
    return plimsoll::cli::run(argc, argv, [&arguments](const plimsoll::cli::ServeOptions& options) {
        return plimsoll::app::serve(options, arguments);
    });
}
