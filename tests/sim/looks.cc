// Prints what each way of looking outside sees in a simulation, to be compared
// with another process.

#include <iostream>

#include "tests/sim/looks_outside.h"

int main() {
  for (const aios::test::Look& look : aios::test::LooksOutside()) {
    std::cout << look.name << ": " << aios::test::SeenInASimulation(look, 7)
              << "\n";
  }
}
